package names

import (
	"context"
	"errors"
	"io"
	"net"
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

func (s *Source) carry(c *net.TCPConn, e endpoint, who owner.Owner) error {
	st, err := s.open(c, e, who)
	if err != nil {
		netx.ResetConn(c, err.Error())
		return err
	}
	return netx.Relay(s.ctx, c, st, netx.RelayOptions{})
}

// open asks the gateway, with what the client has said so far, and returns once
// the flow is connected. A client that goes away meanwhile ends the attempt.
func (s *Source) open(c *net.TCPConn, e endpoint, who owner.Owner) (*tunnel.Stream, error) {
	target := tunnel.Target{Network: tunnel.TCP, Host: e.host, Port: e.port}
	origin := make(chan tunnel.Origin, 1)
	go func() { origin <- s.o.Origin("names", target, who) }()
	early := netx.NewChunk(tunnel.EarlyMax)
	defer early.Release()
	if err := readEarly(c, early); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	st, err := s.o.Tunnel.Open(ctx, tunnel.Request{
		Target: target,
		Origin: <-origin,
	}, early.Bytes())
	if err != nil {
		return nil, err
	}
	stop := netx.WatchPeer(c, func(ended bool) bool {
		if ended && (!s.isGone(c) || early.Len() > 0) {
			return false // a half-close, or a last word that has to be delivered
		}
		cancel(errGone)
		return true
	})
	_, err = st.Answer(ctx)
	stop()
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
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
