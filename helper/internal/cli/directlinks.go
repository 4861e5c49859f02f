package cli

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

const (
	directTime   = 10 * time.Second // to connect and to greet
	maxStrangers = 16               // connections that have not shown the secret yet
)

// directPort is the port that window's sessions prefer for direct links, always
// the same: an editor forwards what it was asked to until the window closes, so
// a new port with each session would add up. 0 if there is no window.
func directPort(window string) int {
	if window == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%d %s", os.Getuid(), window)
	return 16384 + int(h.Sum32()%8192) // below what systems hand out by themselves
}

// listenDirect takes direct links into use for c: whatever comes to the port
// that it returns, preferred if that is free, and shows the session's secret. It
// listens until ctx ends.
func listenDirect(ctx context.Context, c *carrier.Conn, preferred int, log zerolog.Logger) (port int, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil && preferred != 0 {
		ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, fmt.Errorf("listen for direct links: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	go acceptDirect(ctx, ln, c, log)
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func acceptDirect(ctx context.Context, ln net.Listener, c *carrier.Conn, log zerolog.Logger) {
	slots := make(chan struct{}, maxStrangers)
	var refused atomic.Uint64
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // out of descriptors: some may be given back
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		go func() {
			defer func() { <-slots }()
			greeting, cancel := context.WithTimeoutCause(ctx, directTime, errors.New("it did not greet in time"))
			defer cancel()
			if err := c.Attach(greeting, carrier.NewStream(conn)); err != nil {
				log.Warn().Err(err).Uint64("refused", refused.Add(1)).Msg("direct link not taken")
				return
			}
			log.Info().Str("link", carrier.KindDirect).Msg("link taken")
		}()
	}
}

// directLinks keeps the direct links of a session: one at first, more while that
// makes it faster, and new ones for those that are lost.
type directLinks struct {
	c   *carrier.Conn
	log zerolog.Logger
	// wanted says whether it makes sense to try now.
	wanted func() bool

	mu      sync.Mutex
	port    int
	keeping bool
}

// use connects by port from now on, and returns once that works, or why not.
func (d *directLinks) use(ctx context.Context, port int) error {
	if port < 1 || port > 65535 {
		return &rpc.Error{Code: rpc.CodeNotAllowed, Message: fmt.Sprintf("%d is no port", port)}
	}
	d.mu.Lock()
	known := d.port == port
	d.mu.Unlock()
	if known && d.c.Link().Kind == carrier.KindDirect {
		return nil
	}
	if err := d.dial(ctx, port); err != nil {
		return err
	}
	d.log.Info().Int("port", port).Msg("direct link opened")
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

func (d *directLinks) dial(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, directTime, errors.New("nothing answered in time"))
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return d.c.Attach(ctx, carrier.NewStream(c))
}

// keep sees to the links until the session ends.
func (d *directLinks) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.c.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(growEvery / 4)
	defer tick.Stop()
	var g growth
	wait, next := firstRetry, time.Now()
	for {
		select {
		case <-d.c.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Before(next) || !d.wanted() {
			continue
		}
		state := d.c.Link()
		sent, received := d.c.Traffic()
		links := 0
		if state.Kind == carrier.KindDirect {
			links = state.Links
		}
		want := g.want(now, links, sent+received, d.c.RoundTrip())
		if want < links {
			d.c.Trim(want)
			d.log.Info().Int("links", want).Msg("more direct links were of no use")
		}
		d.mu.Lock()
		port := d.port
		d.mu.Unlock()
		for ; links < want; links++ {
			if err := d.dial(ctx, port); err != nil {
				d.log.Info().Err(err).Dur("retry", wait).Msg("no direct link")
				next = now.Add(wait)
				wait = min(2*wait, lastRetry)
				break
			}
			wait = firstRetry
			d.log.Info().Int("links", links+1).Msg("direct link opened")
		}
	}
}

const (
	growEvery = 2 * time.Second  // time that a rate is measured over
	growRest  = 30 * time.Second // until it is tried again when they were of no use; doubles each time
	growFrom  = 1 << 20          // bytes a second, below which one link is enough for anybody
	channel   = 32 << 10         // bytes under way, below which no window of a channel's holds anything up
	growBy    = 1.15             // by which more links have to be faster
)

// growth decides on how many direct links a session should have. What a channel
// of the editor's carries is bounded by its window, whatever the network could
// do, so several carry several times as much, up to what the network does. Where
// one has all that the network carries, more would only add to the queue there.
type growth struct {
	since time.Time // of this measurement
	bytes uint64
	links int
	rate  float64 // of the measurement before, in bytes a second; 0 if it had other links
	tried int     // links before the attempt that goes on; 0 without one
	pause time.Duration
	rest  time.Time
}

// want returns how many links there should be, given how many are in use and
// how many bytes the session has carried. Trip is the round trip.
func (g *growth) want(now time.Time, links int, bytes uint64, trip time.Duration) int {
	if links == 0 {
		*g = growth{}
		return 1
	}
	if links != g.links {
		if links < g.links {
			g.rate, g.tried = 0, 0
		}
		g.since, g.bytes, g.links = now, bytes, links
		return links
	}
	took := now.Sub(g.since)
	if took < growEvery {
		return links
	}
	before, rate := g.rate, float64(bytes-g.bytes)/took.Seconds()
	g.since, g.bytes, g.rate = now, bytes, rate
	tried := g.tried
	g.tried = 0
	faster := rate >= before*growBy
	switch {
	case tried > 0 && !faster:
		g.pause = min(max(2*g.pause, growRest), 16*growRest)
		g.rest = now.Add(g.pause)
		return tried
	case tried == 0 && (before < growFrom || faster):
		return links // a flow that still speeds up by itself would be taken for a gain
	case rate < growFrom || rate*trip.Seconds() < float64(links)*channel || links >= carrier.MaxDirect || now.Before(g.rest):
		return links
	}
	g.tried = links
	return min(2*links, carrier.MaxDirect)
}
