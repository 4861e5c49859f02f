package tun

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
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
	defer p.closeOthers(true)
	open := e.o.Gateway.OpenUDP("tun", e.target(tunnel.UDP, c.t))
	if !e.covers("udp", c.t.server) {
		open = func(ctx context.Context, _ owner.Owner) (net.Conn, error) { return e.openBeside(ctx, "udp", c.t) }
	}
	e.o.Gateway.Exchange(e.ctx, p, func(ctx context.Context, who owner.Owner) (net.Conn, error) {
		p.begin()
		return open(ctx, who)
	})
}

// program is the flow.Program of one UDP socket of a program.
type program struct {
	e    *engine
	c    *conn
	some bool // a datagram has passed the check

	mu     sync.Mutex
	others map[uint16]*conn // at other ports of the target's host, by port
	ended  bool
	over   bool // there is no flow
	busy   bool // Receive has returned a datagram, and has not been called again
}

// begin notes that a flow begins.
func (p *program) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = false
}

// idle notes that the caller of Receive has passed on the last datagram. It returns true
// if the flow has ended and no datagram waits for another.
func (p *program) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	return p.over && !p.waits()
}

// waits tells whether a datagram of the program waits for Receive.
func (p *program) waits() bool { return p.c.ep.Readiness(waiter.ReadableEvents) != 0 }

// Receive implements flow.Program.
func (p *program) Receive() (*netx.Chunk, owner.Owner, error) {
	if p.idle() {
		return nil, owner.Owner{}, net.ErrClosed
	}
	for {
		chunk, err := p.c.ReadUpTo(netx.MaxDatagram)
		if err != nil {
			return nil, owner.Owner{}, err
		}
		// Each datagram: another program may have the port since the last one.
		who, err := p.e.o.CheckUDP(p.c.t.server, p.c.t.client)
		if err == nil {
			p.some = true
			p.mu.Lock()
			p.busy = true
			p.mu.Unlock()
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

// Refused implements flow.Program.
func (p *program) Refused() { p.e.link.send(unreachable(p.c.t, datagram(p.c.t), noPort)) }

// maxOthers bounds the other ports of one exchange.
const maxOthers = 16

// DeliverFrom implements flow.Program: the program sees the port from which the datagram
// came, and may send to it.
func (p *program) DeliverFrom(port uint16, b []byte, reply func(b []byte) bool) {
	if c := p.otherPort(port, reply); c != nil {
		_, _ = c.Write(b)
	}
}

// otherPort returns our end for datagrams of another port of the target's host; nil if
// there can be none.
func (p *program) otherPort(port uint16, reply func(b []byte) bool) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.others[port]; c != nil || p.ended || len(p.others) >= maxOthers {
		return c
	}
	c := p.e.openPort(p.c.t, port)
	if c == nil {
		return nil
	}
	if !p.e.spawn(func() { p.serveOther(c, reply) }) {
		_ = c.Close()
		return nil
	}
	if p.others == nil {
		p.others = make(map[uint16]*conn)
	}
	p.others[port] = c
	return c
}

// openPort returns an end of its own for datagrams between the client of t and another
// port of its server; nil if that port is in use.
func (e *engine) openPort(t tuple, port uint16) *conn {
	t.server = netip.AddrPortFrom(t.server.Addr(), port)
	var wq waiter.Queue
	network := ipv4.ProtocolNumber
	if t.server.Addr().Is6() {
		network = ipv6.ProtocolNumber
	}
	ep, err := e.stack.NewEndpoint(udp.ProtocolNumber, network, &wq)
	if err != nil {
		return nil
	}
	// Several clients may hear from the same port.
	ep.SocketOptions().SetReuseAddress(true)
	ep.SocketOptions().SetReusePort(true)
	if err = ep.Bind(tcpip.FullAddress{NIC: nic, Addr: address(t.server.Addr()), Port: port}); err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: address(t.client.Addr()), Port: t.client.Port()})
	}
	if err != nil {
		ep.Close()
		return nil
	}
	return newConn(ep, &wq, t)
}

// serveOther passes on what the program sends to another port of the target's host.
func (p *program) serveOther(c *conn, reply func(b []byte) bool) {
	defer func() { _ = c.Close() }()
	for {
		chunk, err := c.ReadUpTo(netx.MaxDatagram)
		if err != nil {
			return
		}
		if _, err := p.e.o.CheckUDP(c.t.server, c.t.client); err != nil {
			p.e.o.Gateway.Stranger(c.t.server, err)
		} else {
			reply(chunk.Bytes())
		}
		chunk.Release()
	}
}

// closeOthers closes the ends at other ports; for good if the exchange has ended.
func (p *program) closeOthers(ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = ended
	for _, c := range p.others {
		_ = c.Close()
	}
	p.others = nil
}

// Late implements flow.Program.
func (p *program) Late([]byte, owner.Owner) bool {
	select {
	case <-p.c.done:
		return true
	default:
		return false
	}
}

// Ended implements flow.Program: the next datagram of the program is for another
// exchange. A datagram that has come already begins another flow.
func (p *program) Ended(err error) {
	p.closeOthers(false)
	p.mu.Lock()
	p.over = true
	goesOn := err == nil && p.e.ctx.Err() == nil && (p.busy || p.waits())
	p.mu.Unlock()
	if goesOn {
		return
	}
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
