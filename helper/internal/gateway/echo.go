package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxEcho   = 65507 // most bytes in an echo request over IPv4
	maxEchoes = 128   // under way at a time
	echoRate  = 200   // per second
	// echoPatience is how long an echo request waits for its turn. A longer wait
	// would show as a round-trip time.
	echoPatience = 20 * time.Millisecond
	// echoTime is how long the gateway waits for a reply.
	echoTime = 10 * time.Second
	// echoRead is how long the remote may take to send the whole request.
	echoRead = 5 * time.Second
)

// serveEcho sends the one echo request of a flow, and its answer back.
func (g *Gateway) serveEcho(ctx context.Context, f *flow) {
	reply, err := g.echo(ctx, f)
	if err != nil {
		if errors.Is(context.Cause(ctx), errLapsed) {
			err = errLapsed
		} else if ctx.Err() != nil {
			return // the remote has gone, or the session ends
		}
		g.refuse(f.st, f, err)
		return
	}
	if err := f.st.Reply(tunnel.Connected, ""); err != nil {
		return
	}
	if _, err := f.st.Write(reply); err == nil {
		f.countDown(g)(len(reply))
		_ = f.st.CloseWrite()
	}
}

func (g *Gateway) echo(ctx context.Context, f *flow) ([]byte, error) {
	_ = f.st.SetReadDeadline(time.Now().Add(echoRead))
	data, err := io.ReadAll(io.LimitReader(f.st, maxEcho+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxEcho {
		return nil, &tunnel.Error{Code: tunnel.Failed, Reason: fmt.Sprintf("a ping carries at most %d bytes", maxEcho)}
	}
	release, err := g.echoes.Wait(ctx, turnOf(f.match.Resource.Name, f.st.Request()))
	if errors.Is(err, turns.ErrBusy) {
		return nil, &tunnel.Error{Code: tunnel.Overloaded, Reason: "too many pings at once"}
	}
	if err != nil {
		return nil, err
	}
	defer release()
	f.countUp(g)(len(data))
	ctx, cancel := context.WithTimeout(ctx, echoTime)
	defer cancel()
	addrs, err := g.dialer.Resolve(ctx, f.match)
	if err != nil {
		return nil, err
	}
	f.reached(dial.Resolved)
	v, err := g.dialer.Judge(f.match, addrs)
	if err != nil {
		return nil, err
	}
	if len(v.Allowed) == 0 {
		return nil, &tunnel.Error{Code: tunnel.Denied, Reason: v.Reason()}
	}
	f.reached(dial.Allowed)
	reply, at, err := g.dialer.Ping(ctx, f.match, v.Allowed, data)
	g.mu.Lock()
	f.dialled = at
	g.mu.Unlock()
	if err == nil {
		f.row.Connect(at)
	}
	return reply, err
}
