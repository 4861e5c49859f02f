// Package gateway is the helper's local role: it judges what the remote asks
// for, resolves names with the machine's own resolver and makes the real
// connections. It is the only place where policy is enforced. It knows neither
// the control plane nor how the tunnel's bytes travel.
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
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Options tunes a Gateway. The zero value is ready for use.
type Options struct {
	Log zerolog.Logger

	Dial dial.Options // of resolving and dialling

	MaxFlows int           // open at a time; 0 means 4096
	MaxDials int           // under way at a time, and one more for each resource without one; 0 means 256
	DialRate rate.Limit    // dials and look-ups per second, in bursts of twice as many; 0 means 500
	UDPIdle  time.Duration // after which a UDP exchange ends, twice that once both sides spoke; 0 means 1 min

	// StrictProxy is published: the remote's proxy refuses what is no resource.
	StrictProxy bool

	// OnChange is called when Status may have changed in more than its byte
	// counts. It must not block, nor call the Gateway. May be nil.
	OnChange func()
}

const (
	defaultMaxFlows = 4096
	defaultMaxDials = 256
	defaultDialRate = 500
	defaultUDPIdle  = time.Minute

	// patience is how long a flow waits for its turn to dial, and a question for
	// its turn to be asked.
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
	dials    *turns.Turns // dials and look-ups, by the resource's name
	dns      dnsAnswers
	echoes   *turns.Turns
	refusals refusalLog
	up, down atomic.Uint64

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
	return &Gateway{
		o: o, log: o.Log,
		dialer:   dial.New(o.Dial),
		dials:    turns.New(turns.Limits{Places: o.MaxDials, Rate: o.DialRate, Burst: int(2 * o.DialRate), Patience: patience}),
		dns:      newDNSAnswers(),
		echoes:   turns.New(turns.Limits{Places: maxEchoes, Rate: echoRate, Burst: echoRate, Patience: echoPatience}),
		refusals: refusalLog{log: o.Log, limit: rate.NewLimiter(5, 20)},
		set:      resource.NewSet(nil),
		stats:    map[string]*stats{},
		flows:    map[*flow]struct{}{},
		sessions: map[*session]struct{}{},
	}
}

// SetExits replaces the ways for resources that name one, by that name; the
// caller closes them, and does not change the map. A resource whose exit is
// not in it is not reached at all.
func (g *Gateway) SetExits(exits map[string]dial.Exit) {
	g.dialer.SetExits(exits)
	g.dns.keep(exits)
}

// SetApproved replaces what the remote may reach, tells it, and resets the
// flows that the new list would not allow. The names in the list are unique;
// the caller must not change it afterwards.
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
	for _, f := range ended {
		g.log.Info().Str("resource", f.match.Resource.Name).Str("target", f.target()).Msg("flow reset: its resource is no longer approved")
		f.cancel(errLapsed)
	}
	g.o.OnChange()
}

// errLapsed ends the flows of a resource that is no longer approved.
var errLapsed = &tunnel.Error{Code: tunnel.Denied, Reason: "the resource is no longer approved"}

// errGone ends the work for a flow that the remote has given up.
var errGone = errors.New("the remote no longer wants the flow")

// Serve answers the flows of one session until the session or ctx ends, and
// returns why. It becomes the session's owner: it has closed it, and every
// flow and goroutine has ended, when it returns.
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
	for {
		st, err := ts.Accept()
		if err != nil {
			// What ended the session itself tells more than what that did to the
			// control stream; if this side closed it, the cause is here.
			if own := ts.Err(); own == net.ErrClosed && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("serve session: %w", err)
		}
		wg.Go(func() { g.serveFlow(ctx, s, st) })
	}
}
