// Package flow is the one way from a source of the capture to the gateway: it says
// who opens a flow, opens it, waits for the answer, relays, and tells what an error
// means to a program. The sources (names, proxy, tun, run and bridge) differ only
// in how a program reaches them and in how they show it an error.
package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Opener opens flows; a tunnel.Session is one.
type Opener interface {
	Open(ctx context.Context, req tunnel.Request, early []byte) (*tunnel.Stream, error)
}

// Options of a Gateway. Tunnel is required.
type Options struct {
	Log    zerolog.Logger
	Tunnel Opener
	// Origin tells more of a program that a check let in; nil: the user alone.
	Origin owner.OriginFunc
}

// Gateway opens flows. It is safe for concurrent use.
type Gateway struct {
	o         Options
	strangers rate.Sometimes // bounds the log of refused programs
	datagrams slots          // of the flows of UDP
}

// New returns a Gateway. It opens nothing.
func New(o Options) *Gateway {
	if o.Origin == nil {
		o.Origin = owner.UserAlone
	}
	g := &Gateway{o: o, strangers: rate.Sometimes{First: 5, Interval: 10 * time.Second}}
	g.datagrams.init(maxExchanges)
	return g
}

// Request is what a source asks for on behalf of a program.
func (g *Gateway) Request(source string, t tunnel.Target, who owner.Owner) tunnel.Request {
	return tunnel.Request{Target: t, Origin: g.o.Origin(source, t, who)}
}

// Open opens a flow and does not wait for the answer.
func (g *Gateway) Open(ctx context.Context, r tunnel.Request) (*tunnel.Stream, error) {
	return g.o.Tunnel.Open(ctx, r, nil)
}

// Dial opens a flow and returns it once the gateway has connected. It gives up
// when ctx ends.
func (g *Gateway) Dial(ctx context.Context, r tunnel.Request) (*tunnel.Stream, error) {
	st, err := g.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	if _, err := st.Answer(ctx); err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
}

// Ask opens a flow that sends question and ends, and returns the text of the
// gateway's answer and the at most limit bytes that follow it. It gives up when
// ctx ends.
func (g *Gateway) Ask(ctx context.Context, r tunnel.Request, question []byte, limit int64) (text string, reply []byte, err error) {
	early := question[:min(len(question), tunnel.EarlyMax)]
	st, err := g.o.Tunnel.Open(ctx, r, early)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = st.Close() }()
	defer context.AfterFunc(ctx, func() { st.Reset("no longer wanted") })()
	if rest := question[len(early):]; len(rest) > 0 {
		if _, err := st.Write(rest); err != nil {
			return "", nil, err
		}
	}
	_ = st.CloseWrite()
	if text, err = st.Answer(ctx); err != nil {
		return "", nil, err
	}
	if reply, err = io.ReadAll(io.LimitReader(st, limit)); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return text, reply, err
}

// Relay carries a program's connection to target until both directions have
// ended, and closes both.
func (g *Gateway) Relay(ctx context.Context, program, target net.Conn, t fmt.Stringer) {
	g.ended(t, netx.Relay(ctx, program, target, netx.RelayOptions{}))
}

func (g *Gateway) ended(t fmt.Stringer, err error) {
	if err != nil {
		g.o.Log.Debug().Err(err).Stringer("target", t).Msg("flow ended")
	}
}

// Failed notes that a program did not reach its target.
func (g *Gateway) Failed(t fmt.Stringer, err error) {
	g.o.Log.Debug().Err(err).Stringer("target", t).Msg("target not reached")
}

// Stranger notes that a source refused a program, since a check did.
func (g *Gateway) Stranger(t fmt.Stringer, err error) {
	g.strangers.Do(func() { g.o.Log.Warn().Err(err).Stringer("target", t).Msg("refused a program") })
}

// Code is the answer that err stands for: of the gateway, of a check that refused
// a program, or of a connection that this machine tried itself. A source shows a
// program what a direct connection shows for that answer.
func Code(err error) tunnel.Code {
	var answer *tunnel.Error
	var dns *net.DNSError
	var t net.Error
	switch {
	case errors.As(err, &answer):
		return answer.Code
	case errors.Is(err, owner.ErrStranger), errors.Is(err, owner.ErrGone), errors.Is(err, syscall.ECONNREFUSED):
		return tunnel.Refused
	case errors.As(err, &dns) && dns.IsNotFound:
		return tunnel.NoSuchName
	case errors.As(err, &dns):
		return tunnel.ResolveFailed
	case errors.Is(err, syscall.EHOSTUNREACH):
		return tunnel.HostUnreachable
	case errors.Is(err, syscall.ENETUNREACH):
		return tunnel.NetUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &t) && t.Timeout():
		return tunnel.TimedOut
	}
	return tunnel.Failed
}
