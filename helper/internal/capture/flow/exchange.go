package flow

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Program is a program's end of an exchange of datagrams.
type Program interface {
	// Receive returns the next datagram of the program, which the caller releases,
	// and who sent it. An error ends the exchange.
	Receive() (*netx.Chunk, owner.Owner, error)
	// Deliver passes a datagram to the program, which may lose it.
	Deliver(b []byte)
	// DeliverFrom is Deliver for a datagram from another port of the target's host. As
	// long as the flow lives, reply sends a datagram to that port, and returns true.
	DeliverFrom(port uint16, b []byte, reply func(b []byte) bool)
	// Refused says that the target has refused a datagram. The flow goes on.
	Refused()
	// Late says that the flow ended before it took b, a datagram of who. It returns true
	// if b is not for another flow of this exchange.
	Late(b []byte, who owner.Owner) bool
	// Ended says that the flow has ended. err says why the target could not be
	// reached; it is nil for a flow that was idle or gave way to another. The next
	// datagram opens another flow, unless Ended makes Receive fail.
	Ended(err error)
}

// OpenFunc opens the flow of an exchange: a tunnel.Stream that may not be
// answered yet, or a socket of this machine.
type OpenFunc func(ctx context.Context, who owner.Owner) (net.Conn, error)

// OpenUDP is the OpenFunc for a target of the gateway. It waits for no answer: a
// datagram may be lost, so nothing is gained by waiting for a round trip.
func (g *Gateway) OpenUDP(source string, t tunnel.Target) OpenFunc {
	return func(ctx context.Context, who owner.Owner) (net.Conn, error) {
		st, err := g.Open(ctx, g.Request(source, t, who))
		if err != nil {
			return nil, err
		}
		return st, nil
	}
}

// Exchange carries the datagrams of p until Receive fails. It opens a flow with
// the first datagram, and another with the next datagram after the flow has ended.
// At most 1,024 flows of a Gateway are open at a time.
func (g *Gateway) Exchange(ctx context.Context, p Program, open OpenFunc) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &exchange{g: g, ctx: ctx, p: p, dial: open}
	defer e.back.Wait()
	defer e.end()
	for {
		chunk, who, err := p.Receive()
		if err != nil {
			return
		}
		if f := e.current(who); f != nil && !f.send(chunk.Bytes()) {
			// The flow has just ended, perhaps for another one. This datagram is the
			// first of the next.
			select {
			case <-f.over:
			case <-ctx.Done():
			}
			if !p.Late(chunk.Bytes(), who) {
				if f = e.current(who); f != nil {
					f.send(chunk.Bytes())
				}
			}
		}
		chunk.Release()
	}
}

// directIdle is how long a flow that does not go by the gateway lives without a
// datagram.
const directIdle = time.Minute

type exchange struct {
	g    *Gateway
	ctx  context.Context
	p    Program
	dial OpenFunc
	back sync.WaitGroup

	mu   sync.Mutex
	flow *datagramFlow // nil while there is none
}

type datagramFlow struct {
	conn net.Conn
	slot *slot
	over chan struct{} // closed when the exchange has forgotten the flow
}

// send passes a datagram to the target. It returns false if the flow has ended.
func (f *datagramFlow) send(b []byte) bool {
	f.moved(false)
	_, err := f.conn.Write(b)
	_, gateway := f.conn.(*tunnel.Stream)
	return err == nil || !gateway
}

// moved notes a datagram; answer says that the target sent it. A socket of this
// machine ends when it was idle. The gateway does that for its own.
func (f *datagramFlow) moved(answer bool) {
	f.slot.moved(answer)
	if _, gateway := f.conn.(*tunnel.Stream); !gateway {
		_ = f.conn.SetReadDeadline(time.Now().Add(directIdle))
	}
}

// current returns the flow, which it opens if there is none; nil if it cannot.
func (e *exchange) current(who owner.Owner) *datagramFlow {
	e.mu.Lock()
	f := e.flow
	e.mu.Unlock()
	if f != nil {
		return f
	}
	place, err := e.g.datagrams.take(e.ctx)
	if err != nil {
		return nil
	}
	conn, err := e.dial(e.ctx, who)
	if err != nil {
		place.release()
		if e.ctx.Err() == nil {
			e.p.Ended(err)
		}
		return nil
	}
	if !place.open(conn) {
		_ = conn.Close()
		e.p.Ended(nil)
		return nil
	}
	f = &datagramFlow{conn, place, make(chan struct{})}
	e.mu.Lock()
	e.flow = f
	e.mu.Unlock()
	e.back.Go(func() { e.answer(f) })
	return f
}

// answer delivers what the target sends until the flow ends.
func (e *exchange) answer(f *datagramFlow) {
	err := e.deliver(f)
	_ = f.conn.Close()
	f.slot.release()
	if e.ctx.Err() != nil {
		err = nil
	}
	e.p.Ended(err) // before another flow can begin, so that it ends no other
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flow = nil
	close(f.over)
}

// deliver returns why the target could not be reached, nil if it could.
func (e *exchange) deliver(f *datagramFlow) error {
	var read func() (*netx.Chunk, error) // which holds no chunk while it waits
	if st, ok := f.conn.(*tunnel.Stream); ok {
		if _, err := st.Answer(e.ctx); err != nil {
			return err
		}
		read = st.ReadChunk
	} else {
		read = netx.DatagramReader(f.conn)
	}
	for {
		chunk, err := read()
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, tunnel.ErrRefused) {
			e.p.Refused() // it is about one datagram; the target may take the next
			continue
		}
		if err != nil {
			return nil
		}
		f.moved(true)
		if st, ok := f.conn.(*tunnel.Stream); ok && chunk.Port != 0 {
			port := chunk.Port
			e.p.DeliverFrom(port, chunk.Bytes(), func(b []byte) bool {
				f.moved(false)
				return st.WriteToPort(b, port) == nil
			})
		} else {
			e.p.Deliver(chunk.Bytes())
		}
		chunk.Release()
	}
}

// end closes the flow, if there is one.
func (e *exchange) end() {
	e.mu.Lock()
	f := e.flow
	e.mu.Unlock()
	if f != nil {
		_ = f.conn.Close()
	}
}
