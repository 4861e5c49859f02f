// Package gateway is the helper's local role: it serves the flows of the tunnel. For each
// flow it finds the approved resource, and makes the real connection if the resource
// allows it. Packages below it judge addresses, dial, test, and keep the user's consent.
// It knows neither the control plane nor how the tunnel's bytes travel.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/health"
	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Options tunes a Gateway. The zero value is ready for use.
type Options struct {
	Log zerolog.Logger

	Dial dial.Options // how to resolve and dial

	MaxFlows int           // open at a time; 0 means 4096
	MaxDials int           // under way at a time; a resource that has none may always begin one; 0 means 256
	DialRate rate.Limit    // dials and look-ups per second, in bursts of twice that number; four times as many UDP exchanges; 0 means 500
	UDPIdle  time.Duration // after which a UDP exchange ends; doubled once the target has answered; 0 means 1 min

	// StrictProxy tells the remote's proxy to refuse targets that are not resources.
	StrictProxy bool

	// CheckHealth lets the Gateway test by itself whether its resources work: see
	// package health. Otherwise only connections and calls of CheckHealth tell.
	CheckHealth bool

	// OnChange is called when Status may have changed in more than its byte
	// counts. It must not block, nor call the Gateway. May be nil.
	OnChange func()
}

const (
	defaultMaxFlows = 4096
	defaultMaxDials = 256
	defaultDialRate = 500
	defaultUDPIdle  = time.Minute

	// patience is how long a dial or a DNS question waits for its turn.
	patience = 2 * time.Second

	// flowPart bounds the flows of one resource: at most flowPart times as many as
	// MaxFlows still leaves free.
	flowPart = 7
)

func (o Options) withDefaults() Options {
	set(&o.MaxFlows, defaultMaxFlows)
	set(&o.MaxDials, defaultMaxDials)
	set(&o.DialRate, defaultDialRate)
	set(&o.UDPIdle, defaultUDPIdle)
	if o.OnChange == nil {
		o.OnChange = func() {}
	}
	return o
}

func set[T comparable](field *T, value T) {
	if zero := *new(T); *field == zero {
		*field = value
	}
}

// Gateway serves the flows of one remote.
type Gateway struct {
	o        Options
	log      zerolog.Logger
	dialer   *dial.Dialer
	dials    *turns.Turns // dials and look-ups, by the resource and the program
	sockets  *turns.Turns // as dials, for UDP exchanges; their look-ups are among dials
	dns      dnsAnswers
	echoes   *turns.Turns
	refusals refusalLog
	journal  *journal.Journal
	up, down atomic.Uint64
	health   *health.Keeper

	mu       sync.Mutex
	approved []resource.Approved
	set      *resource.Set
	stats    map[string]*stats // by the resource's name
	flows    map[*flow]struct{}
	sessions map[*session]struct{}
	report   report // the last one received
}

// New returns a gateway that has approved nothing.
func New(o Options) *Gateway {
	o = o.withDefaults()
	g := &Gateway{
		o: o, log: o.Log,
		dialer: dial.New(o.Dial),
		dials:  turns.New(turns.Limits{Places: o.MaxDials, Rate: o.DialRate, Burst: int(2 * o.DialRate), Patience: patience}),
		// A UDP socket costs the network nothing, and many programs open one per question.
		sockets:  turns.New(turns.Limits{Places: o.MaxDials, Rate: 4 * o.DialRate, Burst: int(8 * o.DialRate), Patience: patience}),
		dns:      newDNSAnswers(),
		echoes:   turns.New(turns.Limits{Places: maxEchoes, Rate: echoRate, Burst: echoRate, Patience: echoPatience}),
		refusals: refusalLog{log: o.Log, limit: rate.NewLimiter(5, 20)},
		journal:  journal.New(),
		set:      resource.NewSet(nil),
		stats:    map[string]*stats{},
		flows:    map[*flow]struct{}{},
		sessions: map[*session]struct{}{},
	}
	g.health = newHealth(g)
	return g
}

// SetExits replaces the exits, by the names that resources use for them. The caller
// closes the exits and does not change the map. The gateway denies flows to a resource
// whose exit is not in the map.
func (g *Gateway) SetExits(exits map[string]dial.Exit) {
	g.dialer.SetExits(exits)
	g.dns.keep(exits)
}

// SetApproved replaces the resources that the remote may reach, publishes them, and
// resets the flows that the new list does not allow. The names in the list are unique.
// The caller must not change the list afterwards.
func (g *Gateway) SetApproved(list []resource.Approved) {
	resources := make([]resource.Resource, len(list))
	kept := make(map[string]*stats, len(list))
	for i, a := range list {
		resources[i] = a.Resource
	}
	set := resource.NewSet(resources)
	around, err := g.dialer.Surroundings()

	g.mu.Lock()
	g.approved, g.set = list, set
	for _, r := range resources {
		kept[r.Name] = g.stats[r.Name]
		if kept[r.Name] == nil {
			kept[r.Name] = new(stats)
		}
	}
	g.stats = kept
	var ended []*flow
	for f := range g.flows {
		if err != nil || !g.stillAllowed(f, around) {
			ended = append(ended, f)
		}
	}
	for s := range g.sessions {
		s.publish()
	}
	g.mu.Unlock()
	g.keepHealth(resources)
	for _, f := range ended {
		g.log.Info().Str("resource", f.match.Resource.Name).Str("target", f.target()).Msg("flow reset: its resource is no longer approved")
		f.cancel(errLapsed)
	}
	g.o.OnChange()
}

// errLapsed ends the flows of a resource that is no longer approved.
var errLapsed = &tunnel.Error{Code: tunnel.Denied, Reason: "the resource is no longer approved"}

// errGone ends the work for a flow that the remote has closed.
var errGone = errors.New("the remote no longer wants the flow")

// Serve serves the flows of one session until the session or ctx ends, and returns the
// reason. It owns the session from now on. When Serve returns, it has closed the session,
// and every flow and goroutine has ended.
func (g *Gateway) Serve(ctx context.Context, ts *tunnel.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{g: g, ts: ts, changed: make(chan struct{}, 1), asked: newQuestions()}
	s.publish()
	g.mu.Lock()
	g.sessions[s] = struct{}{}
	g.mu.Unlock()

	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		_ = ts.Close()
		wg.Wait()
		g.dialer.Wait()
		g.refusals.flush()
		g.mu.Lock()
		delete(g.sessions, s)
		g.report = report{}
		g.mu.Unlock()
		g.o.OnChange()
	}()
	stop := context.AfterFunc(ctx, func() { _ = ts.Close() })
	defer stop()
	wg.Go(func() { cancel(s.control(ctx)) })
	if g.o.CheckHealth {
		wg.Go(func() { g.health.Run(ctx) })
	}
	for {
		st, err := ts.Accept()
		if err != nil {
			// If this side has closed the session, the cause of ctx tells more than the
			// session's own error.
			if own := ts.Err(); own == net.ErrClosed && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("serve session: %w", err)
		}
		wg.Go(func() { g.serveFlow(ctx, s, st) })
	}
}
