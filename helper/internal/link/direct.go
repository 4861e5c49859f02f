package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// Direct keeps the direct links of a session: one at first, more while that
// makes the session faster, and new ones for those that are lost. The exported
// fields are required and must not change after the first Use.
type Direct struct {
	Carrier *carrier.Conn
	Log     zerolog.Logger
	// Wanted reports whether it makes sense to try now.
	Wanted func() bool

	mu      sync.Mutex
	port    int
	keeping bool
}

// Use connects to a loopback port of this machine from now on, until the session
// ends. It returns when the first link is in use, or why there is none.
func (d *Direct) Use(ctx context.Context, port int) error {
	if port < 1 || port > 65535 {
		return &rpc.Error{Code: rpc.CodeNotAllowed, Message: fmt.Sprintf("%d is not a port", port)}
	}
	d.mu.Lock()
	known := d.port == port
	d.mu.Unlock()
	if known && d.Carrier.Link().Kind == carrier.KindDirect {
		return nil
	}
	if err := d.dial(ctx, port); err != nil {
		return err
	}
	d.Log.Info().Int("port", port).Msg("direct link opened")
	d.mu.Lock()
	d.port = port
	start := !d.keeping
	d.keeping = true
	d.mu.Unlock()
	if start {
		go d.keep()
	}
	return nil
}

func (d *Direct) dial(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, directTime, errors.New("nothing answered in time"))
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return d.Carrier.Attach(ctx, carrier.NewStream(c))
}

// keep replaces lost links, and adds or removes some, until the session ends.
func (d *Direct) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-d.Carrier.Done()
		cancel()
	}()
	tick := time.NewTicker(growEvery / 4)
	defer tick.Stop()
	var g growth
	retry := Retries()
	next := time.Now()
	for {
		select {
		case <-d.Carrier.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Before(next) || !d.Wanted() {
			continue
		}
		state := d.Carrier.Link()
		sent, received := d.Carrier.Traffic()
		links := 0
		if state.Kind == carrier.KindDirect {
			links = state.Links
		}
		want := g.want(now, links, sent+received, d.Carrier.RoundTrip())
		if want < links {
			d.Carrier.Trim(want)
			d.Log.Info().Int("links", want).Msg("more direct links brought nothing: closed again")
		}
		d.mu.Lock()
		port := d.port
		d.mu.Unlock()
		for ; links < want; links++ {
			if err := d.dial(ctx, port); err != nil {
				wait := retry.Next()
				d.Log.Info().Err(err).Dur("retry", wait).Msg("no direct link")
				next = now.Add(wait)
				break
			}
			retry.Reset()
			d.Log.Info().Int("links", links+1).Msg("direct link opened")
		}
	}
}
