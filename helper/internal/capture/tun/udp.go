package tun

import (
	"context"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	maxDatagramFlows = 1024
	datagramBuffer   = 256 << 10 // of what a program sent and the tunnel has not taken
)

// acceptUDP is the stack's call for the first datagram of a flow. It says false
// where the port is unreachable.
func (e *engine) acceptUDP(r *udp.ForwarderRequest) bool {
	t := tupleOf(r.ID())
	if t.client.Port() == 0 || !e.covers("udp", t.server) {
		return false
	}
	e.mu.Lock()
	full := e.datagram >= maxDatagramFlows || e.closing
	if !full {
		e.datagram++
	}
	e.mu.Unlock()
	if full {
		return true // a datagram may be lost
	}
	release := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.datagram--
	}
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	if err != nil {
		release()
		return true
	}
	ep.SocketOptions().SetReceiveBufferSize(datagramBuffer, true)
	c := newConn(ep, &wq, t)
	if !e.spawn(func() {
		defer release()
		e.exchange(c)
	}) {
		release()
		_ = c.Close()
	}
	return true
}

// exchange carries the datagrams of one flow until the gateway ends it, since it
// was idle or refused. It closes c.
func (e *engine) exchange(c *conn) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(e.ctx, func() { _ = c.Close() })
	defer stop()
	var st *tunnel.Stream
	for {
		chunk, err := c.ReadUpTo(netx.MaxDatagram)
		if err != nil {
			return
		}
		// Each of them: a port may have changed hands since the last one.
		who, err := e.o.CheckUDP(c.t.server, c.t.client)
		if err != nil {
			chunk.Release()
			e.o.strangers.Do(func() { e.o.Log.Warn().Err(err).Stringer("target", c.t.server).Msg("refused a datagram") })
			if st == nil {
				return
			}
			continue
		}
		if st == nil {
			if st, err = e.o.Tunnel.Open(e.ctx, e.request(tunnel.UDP, c.t, who), nil); err != nil {
				chunk.Release()
				return
			}
			defer func() { _ = st.Close() }()
			if !e.spawn(func() { e.back(c, st) }) {
				chunk.Release()
				return
			}
		}
		_, _ = st.Write(chunk.Bytes())
		chunk.Release()
	}
}

// back passes what the target says to the program, and closes c when the gateway
// ends the flow.
func (e *engine) back(c *conn, st *tunnel.Stream) {
	defer func() { _ = c.Close() }()
	if _, err := st.Answer(e.ctx); err != nil {
		e.o.Log.Debug().Err(err).Stringer("target", c.t.server).Msg("datagrams refused")
		why, ok := reasonOf(err)
		if !ok && refused(err) {
			why, ok = noPort, true
		}
		if ok && e.ctx.Err() == nil {
			e.link.send(unreachable(c.t, datagram(c.t), why))
		}
		return
	}
	for {
		chunk, err := st.ReadChunk()
		if err != nil {
			return
		}
		_, _ = c.Write(chunk.Bytes())
		chunk.Release()
	}
}
