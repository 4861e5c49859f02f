package names

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

// serve carries one accepted connection, and closes it.
func (s *Source) serve(c *net.TCPConn, e endpoint) {
	who, err := s.o.Check(c)
	if err != nil {
		netx.ResetConn(c, "not allowed")
		s.strangers.Do(func() { s.o.Log.Warn().Err(err).Str("host", e.host).Msg("refused a connection") })
		return
	}
	if err := s.carry(c, e, who); err != nil {
		s.o.Log.Debug().Err(err).Str("host", e.host).Uint16("port", e.port).Msg("flow ended")
	}
}

// carry asks the gateway, with what the client has said so far, and relays. A
// client that goes away before the answer ends the attempt.
func (s *Source) carry(c *net.TCPConn, e endpoint, who owner.Owner) error {
	st, said, err := s.open(c, e, who)
	if err != nil {
		netx.ResetConn(c, err.Error())
		return err
	}
	f := &asked{Stream: st, ctx: s.ctx, gone: func() bool { return s.isGone(c) }}
	f.said.Store(said)
	err = netx.Relay(s.ctx, c, f, netx.RelayOptions{})
	if f.refusal != nil {
		return f.refusal // which may have failed the other direction first
	}
	return err
}

// open opens the flow. said tells whether the client has spoken.
func (s *Source) open(c *net.TCPConn, e endpoint, who owner.Owner) (st *tunnel.Stream, said bool, err error) {
	target := tunnel.Target{Network: tunnel.TCP, Host: e.host, Port: e.port}
	origin := make(chan tunnel.Origin, 1)
	go func() { origin <- s.o.Origin("names", target, who) }()
	early := netx.NewChunk(tunnel.EarlyMax)
	defer early.Release()
	if err := readEarly(c, early); err != nil {
		return nil, false, err
	}
	st, err = s.o.Tunnel.Open(s.ctx, tunnel.Request{
		Target: target,
		Origin: <-origin,
	}, early.Bytes())
	return st, early.Len() > 0, err
}

// asked is a stream that may not be answered yet. What the client says goes
// nevertheless, as far as the credit lasts: the answer takes as long as the links
// are away, and what is there by then need not wait for another round trip.
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

// CloseWrite passes on a half-close, and that of a client whose last word has to
// be delivered. One that left without a word no longer wants the flow.
func (a *asked) CloseWrite() error {
	if !a.answered.Load() && !a.said.Load() && a.gone() {
		return errGone
	}
	return a.Stream.CloseWrite()
}

func (s *Source) isGone(c net.Conn) bool {
	_, err := s.o.Check(c)
	return errors.Is(err, owner.ErrGone)
}

// readEarly reads what the client sends right away. Its end of the connection
// is left for the relay to find.
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
