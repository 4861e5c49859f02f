package tun

import (
	"context"
	"net"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxDatagramFlows is more than a flow.Gateway has flows, so that a new one can
	// take the place of another.
	maxDatagramFlows = 2048
	datagramBuffer   = 256 << 10 // bytes that a program sent and the tunnel has not taken
)

// The stack calls acceptUDP for the first datagram of a flow. It returns false if the
// port is unreachable.
func (e *engine) acceptUDP(r *udp.ForwarderRequest) bool {
	t := tupleOf(r.ID())
	if t.client.Port() == 0 || !e.covers("udp", t.server) && e.besideName(t.server) == "" {
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

// exchange carries the datagrams of one flow until the gateway ends it. It closes c.
func (e *engine) exchange(c *conn) {
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(e.ctx, func() { _ = c.Close() })()
	p := &program{e: e, c: c}
	open := e.o.Gateway.OpenUDP("tun", e.target(tunnel.UDP, c.t))
	if !e.covers("udp", c.t.server) {
		open = func(ctx context.Context, _ owner.Owner) (net.Conn, error) { return e.openBeside(ctx, "udp", c.t) }
	}
	e.o.Gateway.Exchange(e.ctx, p, open)
}

// program is the flow.Program of one UDP socket of a program.
type program struct {
	e    *engine
	c    *conn
	some bool // a datagram has passed the check
}

// Receive implements flow.Program.
func (p *program) Receive() (*netx.Chunk, owner.Owner, error) {
	for {
		chunk, err := p.c.ReadUpTo(netx.MaxDatagram)
		if err != nil {
			return nil, owner.Owner{}, err
		}
		// Each datagram: another program may have the port since the last one.
		who, err := p.e.o.CheckUDP(p.c.t.server, p.c.t.client)
		if err == nil {
			p.some = true
			return chunk, who, nil
		}
		chunk.Release()
		p.e.o.Gateway.Stranger(p.c.t.server, err)
		if !p.some {
			return nil, owner.Owner{}, err
		}
	}
}

// Deliver implements flow.Program.
func (p *program) Deliver(b []byte) { _, _ = p.c.Write(b) }

// Ended implements flow.Program: the next datagram of the program is for another
// exchange.
func (p *program) Ended(err error) {
	defer func() { _ = p.c.Close() }()
	if err == nil {
		return
	}
	p.e.o.Gateway.Failed(p.c.t.server, err)
	why, ok := reasonOf(err)
	if !ok && refused(err) {
		why, ok = noPort, true
	}
	if ok && p.e.ctx.Err() == nil {
		p.e.link.send(unreachable(p.c.t, datagram(p.c.t), why))
	}
}
