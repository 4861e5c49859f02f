package flow

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// earlyTime is how long a client is given to speak first. A server that speaks
// first is kept waiting for no longer than that.
const earlyTime = time.Millisecond

var errGone = errors.New("the client is gone")

// Accepted carries a connection that is established before the gateway has
// answered, and closes it. It opens the flow with what the client has said so far.
// If the gateway refuses, it resets the connection. A client that goes away before
// the answer without a word ends the attempt; check tells whether it has.
func (g *Gateway) Accepted(ctx context.Context, c *net.TCPConn, source string, t tunnel.Target, who owner.Owner, check func(net.Conn) (owner.Owner, error)) {
	g.ended(t, g.carry(ctx, c, source, t, who, check))
}

func (g *Gateway) carry(ctx context.Context, c *net.TCPConn, source string, t tunnel.Target, who owner.Owner, check func(net.Conn) (owner.Owner, error)) error {
	gone := func() bool {
		_, err := check(c)
		return errors.Is(err, owner.ErrGone)
	}
	st, said, err := g.openEarly(ctx, c, source, t, who, gone)
	if err != nil {
		netx.ResetConn(c, err.Error())
		return err
	}
	f := &asked{Stream: st, ctx: ctx, gone: gone}
	f.said.Store(said)
	err = netx.Relay(ctx, c, f, netx.RelayOptions{})
	if f.refusal != nil {
		return f.refusal // which may have failed the other direction first
	}
	return err
}

// openEarly opens the flow. said tells whether the client has spoken.
func (g *Gateway) openEarly(ctx context.Context, c *net.TCPConn, source string, t tunnel.Target, who owner.Owner, gone func() bool) (st *tunnel.Stream, said bool, err error) {
	request := make(chan tunnel.Request, 1)
	go func() { request <- g.Request(source, t, who) }() // meanwhile the client may speak
	early := netx.NewChunk(tunnel.EarlyMax)
	defer early.Release()
	if err := readEarly(c, early); err != nil {
		return nil, false, err
	}
	if early.Len() == 0 {
		// Open waits while no link moves. A client that leaves meanwhile ends that.
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		defer netx.WatchPeer(c, func() {
			if gone() {
				cancel(errGone)
			}
		})()
	}
	st, err = g.o.Tunnel.Open(ctx, <-request, early.Bytes())
	return st, early.Len() > 0, err
}

// asked is a stream that the gateway may not have answered yet. It sends what the
// client says nevertheless, as far as the credit lasts: so that data does not wait
// for the answer and then for another round trip.
type asked struct {
	*tunnel.Stream
	ctx      context.Context
	gone     func() bool // is the client?
	said     atomic.Bool // the client has spoken
	answered atomic.Bool
	refusal  error // the answer, if it is one
}

// ReadChunk comes first in a relay's direction to the client.
func (a *asked) ReadChunk() (*netx.Chunk, error) {
	if !a.answered.Load() {
		if _, err := a.Answer(a.ctx); err != nil {
			if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Code != tunnel.Reset {
				a.refusal = err
			}
			_ = a.Close()
			return nil, err
		}
		a.answered.Store(true)
	}
	return a.Stream.ReadChunk()
}

func (a *asked) WriteChunk(c *netx.Chunk) error {
	a.said.Store(true)
	return a.Stream.WriteChunk(c)
}

// CloseWrite passes on a half-close, also that of a client that left after it had
// spoken: its last words are delivered. A client that left without a word no
// longer wants the flow.
func (a *asked) CloseWrite() error {
	if !a.answered.Load() && !a.said.Load() && a.gone() {
		return errGone
	}
	return a.Stream.CloseWrite()
}

// readEarly reads what the client sends right away. It leaves the client's end of
// the connection to the relay.
func readEarly(c *net.TCPConn, early *netx.Chunk) error {
	if err := c.SetReadDeadline(time.Now().Add(earlyTime)); err != nil {
		return err
	}
	n, err := c.Read(early.Room()[:tunnel.EarlyMax])
	early.Grow(n)
	var timeout net.Error
	if err != nil && !errors.Is(err, io.EOF) && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		return err
	}
	return c.SetReadDeadline(time.Time{})
}
