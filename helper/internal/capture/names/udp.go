package names

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// maxClients bounds the exchanges of one UDP port.
const maxClients = 256

// datagrams is the listener of a UDP port: an exchange for each client address,
// until the gateway ends it since it was idle.
type datagrams struct {
	s    *Source
	e    endpoint
	at   netip.AddrPort
	conn *net.UDPConn

	mu    sync.Mutex
	flows map[netip.AddrPort]*tunnel.Stream
}

// serve passes on what clients send until the socket is closed.
func (d *datagrams) serve() {
	defer d.close()
	buf := netx.NewChunk(netx.MaxDatagram)
	defer buf.Release()
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf.Room()[:netx.MaxDatagram])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Of an earlier datagram, or such as no memory left: it may pass.
			select {
			case <-d.s.ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		// Each of them: a port may have changed hands since the last one.
		who, err := d.s.o.CheckUDP(d.at, from)
		if err != nil {
			d.s.strangers.Do(func() { d.s.o.Log.Warn().Err(err).Str("host", d.e.host).Msg("refused a datagram") })
			continue
		}
		if st := d.flow(from, who); st != nil {
			_, _ = st.Write(buf.Room()[:n])
		}
	}
}

// flow returns the exchange of a client, beginning it if need be; nil if that
// cannot be. A datagram may be lost, so no answer is waited for.
func (d *datagrams) flow(from netip.AddrPort, who owner.Owner) *tunnel.Stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.flows[from]; st != nil {
		return st
	}
	if len(d.flows) >= maxClients {
		return nil
	}
	target := tunnel.Target{Network: tunnel.UDP, Host: d.e.host, Port: d.e.port}
	st, err := d.s.o.Tunnel.Open(d.s.ctx, tunnel.Request{Target: target, Origin: d.s.o.Origin("names", target, who)}, nil)
	if err != nil {
		return nil
	}
	d.flows[from] = st
	d.s.wg.Go(func() { d.back(from, st) })
	return st
}

// back passes what the target says to the client until the exchange ends.
func (d *datagrams) back(to netip.AddrPort, st *tunnel.Stream) {
	defer func() {
		_ = st.Close()
		d.mu.Lock()
		delete(d.flows, to)
		d.mu.Unlock()
	}()
	if _, err := st.Answer(d.s.ctx); err != nil {
		d.s.o.Log.Debug().Err(err).Str("host", d.e.host).Uint16("port", d.e.port).Msg("datagrams refused")
		return
	}
	buf := netx.NewChunk(netx.MaxDatagram)
	defer buf.Release()
	for {
		n, err := st.Read(buf.Room()[:netx.MaxDatagram])
		if err != nil {
			return
		}
		_, _ = d.conn.WriteToUDPAddrPort(buf.Room()[:n], to)
	}
}

func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, st := range d.flows {
		_ = st.Close()
	}
}
