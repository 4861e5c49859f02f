package tun

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	maxAttempts = 1024 // connections that wait for the gateway at a time
	maxFlows    = 4096 // connections at a time
	// handshakeTime is how long a program may take to complete its handshake after
	// the gateway has connected.
	handshakeTime = 10 * time.Second
)

// attempt is a connection that a program has asked for. The engine keeps its SYN
// until the gateway has connected, and only then gives it to the stack: before that,
// nothing is accepted.
type attempt struct {
	syn    []byte
	at     int
	beside bool       // no resource has the port: this machine itself connects
	ready  bool       // the gateway has connected
	conn   chan *conn // of capacity 1: the stack's connection; nil if the program gave up
}

// begin takes the SYN syn, a packet of t.
func (e *engine) begin(t tuple, syn []byte, at int) {
	beside := false
	if !e.covers("tcp", t.server) {
		if beside = e.besideName(t.server) != ""; !beside {
			e.link.send(reset(t, syn, at))
			return
		}
	}
	e.mu.Lock()
	if a := e.attempts[t]; a != nil {
		again := a.ready
		e.mu.Unlock()
		if again {
			e.link.deliver(a.syn)
		}
		return
	}
	// If there are too many, the SYN is dropped, and the program sends it again.
	if len(e.attempts) < maxAttempts && e.flows.Load() < maxFlows && !e.closing {
		a := &attempt{syn: append([]byte(nil), syn...), at: at, beside: beside, conn: make(chan *conn, 1)}
		e.attempts[t] = a
		e.flows.Add(1)
		e.wg.Go(func() {
			defer e.flows.Add(-1)
			e.carry(t, a)
		})
	}
	e.mu.Unlock()
}

// carry carries one connection from its SYN to its end.
func (e *engine) carry(t tuple, a *attempt) {
	st, err := e.dial(t, a.beside)
	if err != nil {
		e.forget(t)
		if e.ctx.Err() == nil {
			e.refuse(t, a, err)
		}
		e.o.Gateway.Failed(t.server, err)
		return
	}
	c := e.complete(t, a)
	if c == nil {
		netx.ResetConn(st, "the program did not wait")
		return
	}
	e.o.Gateway.Relay(e.ctx, c, st, t.server)
}

// dial checks which user connects, and asks the gateway.
func (e *engine) dial(t tuple, beside bool) (net.Conn, error) {
	who, err := e.o.Check(t.client, t.server, e.index)
	if err != nil {
		e.o.Gateway.Stranger(t.server, err)
		return nil, err
	}
	if beside {
		return e.openBeside(e.ctx, "tcp", t)
	}
	st, err := e.o.Gateway.Dial(e.ctx, e.o.Gateway.Request("tun", e.target(tunnel.TCP, t), who))
	if err != nil {
		return nil, err
	}
	return st, nil
}

// besideName returns the name that server stands for if this machine itself is to
// connect to its other ports, else "".
func (e *engine) besideName(server netip.AddrPort) string {
	if name, ok := e.nameAt(server.Addr()); ok && e.o.Beside != nil {
		return name
	}
	return ""
}

func (e *engine) openBeside(ctx context.Context, network string, t tuple) (net.Conn, error) {
	c, err := e.o.Beside(ctx, network, e.besideName(t.server), t.server.Port())
	if err == nil {
		return c, nil
	}
	code := flow.Code(err)
	if code == tunnel.NoSuchName || code == tunnel.ResolveFailed {
		code = tunnel.Refused // the program has an address, of a name with no such port
	}
	return nil, &tunnel.Error{Code: code, Reason: err.Error()}
}

// target is the target for the gateway: a name, if the address stands for one.
func (e *engine) target(n tunnel.Network, t tuple) tunnel.Target {
	target := tunnel.Target{Network: n, Host: t.server.Addr().String(), Port: t.server.Port()}
	if name, ok := e.nameAt(t.server.Addr()); ok {
		target.Host = name
	}
	return target
}

// covers tells whether a resource covers a flow to server.
func (e *engine) covers(network string, server netip.AddrPort) bool {
	if name, ok := e.nameAt(server.Addr()); ok {
		return e.o.CoversName(network, name, server.Port())
	}
	return e.o.Covers(network, server.Addr(), server.Port())
}

// nameAt returns the name that a stands for, if any.
func (e *engine) nameAt(a netip.Addr) (string, bool) {
	if e.o.Names == nil {
		return "", false
	}
	return e.o.Names.At(a)
}

// refuse answers a SYN as a network would.
func (e *engine) refuse(t tuple, a *attempt, err error) {
	if why, ok := reasonOf(err); ok {
		e.link.send(unreachable(t, a.syn[:min(len(a.syn), a.at+tcpHeader)], why))
	} else if refused(err) {
		e.link.send(reset(t, a.syn, a.at))
	}
}

// reasonOf is the ICMP code for a target that the gateway did not connect to.
func reasonOf(err error) (reason, bool) {
	failed, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		return reason{}, false
	}
	switch failed.Code {
	case tunnel.Denied:
		return prohibited, true
	case tunnel.HostUnreachable, tunnel.NoSuchName, tunnel.ResolveFailed, tunnel.Failed:
		return noHost, true
	case tunnel.NetUnreachable:
		return noNetwork, true
	}
	return reason{}, false
}

// refused tells whether the program gets a refusal. On a timeout or an overload it
// gets no answer, and tries again.
func refused(err error) bool {
	if failed, ok := errors.AsType[*tunnel.Error](err); ok {
		return failed.Code == tunnel.Refused || failed.Code == tunnel.Reset
	}
	return errors.Is(err, owner.ErrStranger) || errors.Is(err, owner.ErrGone)
}

func (e *engine) forget(t tuple) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.attempts, t)
}

// complete makes the stack shake hands with the program; it returns nil if that
// fails.
func (e *engine) complete(t tuple, a *attempt) *conn {
	e.mu.Lock()
	a.ready = true
	e.mu.Unlock()
	e.link.deliver(a.syn)
	ctx, cancel := context.WithTimeout(e.ctx, handshakeTime)
	defer cancel()
	select {
	case c := <-a.conn:
		e.forget(t)
		return c
	case <-ctx.Done():
	}
	e.forget(t) // after that, accept does not find the attempt
	select {
	case c := <-a.conn:
		return c
	default:
		return nil
	}
}

// accept is the stack's call for each SYN that it was given.
func (e *engine) accept(r *tcp.ForwarderRequest) {
	t := tupleOf(r.ID())
	e.mu.Lock()
	a := e.attempts[t]
	waited := a != nil && a.ready
	e.mu.Unlock()
	if !waited {
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	r.Complete(err != nil)
	var c *conn
	if err == nil {
		c = newConn(ep, &wq, t)
		c.share = e.share
		c.fit()
	}
	e.mu.Lock()
	taken := e.attempts[t] == a && len(a.conn) == 0
	if taken {
		a.conn <- c
	}
	e.mu.Unlock()
	if !taken && c != nil {
		c.Reset("nobody waits for it")
	}
}
