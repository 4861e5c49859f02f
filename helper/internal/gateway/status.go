package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/health"
	"github.com/causeway-dev/causeway/helper/internal/gateway/probe"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Status is a snapshot. Every string that came from the remote is fit to be shown.
type Status struct {
	Reported  bool // the remote has sent a report
	Flows     int
	Up, Down  uint64 // bytes from the remote to the private network, and back
	Proxy     string // host:port of the remote's proxy, as reported; empty: none
	Notes     []string
	Trouble   []string         // what several resources have in common that do not work
	Resources []ResourceStatus // approved ones, in their order
}

// ResourceStatus is the state of one approved resource.
type ResourceStatus struct {
	resource.Approved
	Served   []string // how the remote reaches it, as reported
	Address  string   // its loopback address on the remote
	Trouble  string   // what prevents the remote from reaching it, as reported
	Flows    int
	Up, Down uint64
	LastFail *Failure // nil: none so far
	Health   health.Report
	Clients  []Client // programs with flows, as reported; most flows first, at most 16
}

// Client is a program on the remote with flows to a resource.
type Client struct {
	User    string
	PID     uint32 // 0 if it is not known
	Program string // its file's name, "" if it is not known
	Flows   int
}

// maxClients bounds ResourceStatus.Clients.
const maxClients = 16

// Failure is why a flow to a resource failed.
type Failure struct {
	Time   time.Time
	Code   tunnel.Code
	Reason string
}

// Status returns the current state.
func (g *Gateway) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{
		Reported: g.report.names != nil,
		Trouble:  g.health.Trouble(),
		Flows:    len(g.flows), Up: g.up.Load(), Down: g.down.Load(), Proxy: g.report.proxy, Notes: g.report.notes,
		Resources: make([]ResourceStatus, len(g.approved)),
	}
	clients := g.clients()
	for i, a := range g.approved {
		said := g.report.names[a.Resource.Name]
		s.Resources[i] = g.stats[a.Resource.Name].snapshot(a, said)
		s.Resources[i].Health = g.health.Of(a.Resource.Name)
		s.Resources[i].Clients = clients[a.Resource.Name]
	}
	return s
}

// Moved returns how many bytes went from the remote to the private network, and back.
func (g *Gateway) Moved() (up, down uint64) { return g.up.Load(), g.down.Load() }

// clients returns the programs that have open flows, by the resource's name. The caller
// holds g.mu.
func (g *Gateway) clients() map[string][]Client {
	counts := map[string]map[Client]int{}
	for f := range g.flows {
		o := f.st.Request().Origin
		name := f.match.Resource.Name
		if counts[name] == nil {
			counts[name] = map[Client]int{}
		}
		counts[name][Client{User: o.User, PID: o.PID, Program: o.Program}]++
	}
	all := make(map[string][]Client, len(counts))
	for name, of := range counts {
		var list []Client
		for c, n := range of {
			c.Flows = n
			list = append(list, c)
		}
		slices.SortFunc(list, func(a, b Client) int {
			return cmp.Or(b.Flows-a.Flows, strings.Compare(a.Program, b.Program), cmp.Compare(a.PID, b.PID), strings.Compare(a.User, b.User))
		})
		all[name] = list[:min(len(list), maxClients)]
	}
	return all
}

// stats counts the flows of one resource. It stays while the approved set has a resource
// of that name.
type stats struct {
	flows    atomic.Int64
	up, down atomic.Uint64
	mu       sync.Mutex
	last     *Failure
}

func (s *stats) fail(now time.Time, e *tunnel.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = &Failure{Time: now, Code: e.Code, Reason: e.Reason}
}

func (s *stats) snapshot(a resource.Approved, said peer.NameReport) ResourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ResourceStatus{
		Approved: a, Served: said.Served, Address: said.Address, Trouble: said.Trouble,
		Flows: int(s.flows.Load()), Up: s.up.Load(), Down: s.down.Load(), LastFail: s.last,
	}
}

// refusalLog logs failed flows at a bounded rate, since the remote decides how many
// there are.
type refusalLog struct {
	log        zerolog.Logger
	limit      *rate.Limiter
	suppressed atomic.Uint64
}

func (l *refusalLog) add(r tunnel.Request, name string, e *tunnel.Error) {
	if !l.limit.Allow() {
		l.suppressed.Add(1)
		return
	}
	event := l.log.Info()
	if e.Code == tunnel.Denied || e.Code == tunnel.Overloaded {
		event = l.log.Warn()
	}
	if n := l.suppressed.Swap(0); n > 0 {
		event = event.Uint64("suppressed", n)
	}
	if name != "" {
		event = event.Str("resource", name)
	}
	event.Str("target", targetOf(r)).Str("source", r.Origin.Source).Str("program", r.Origin.Program).
		Uint32("pid", r.Origin.PID).Str("user", r.Origin.User).
		Stringer("code", e.Code).Str("reason", e.Reason).Msg("flow refused")
}

// flush logs how many flows were left out.
func (l *refusalLog) flush() {
	if n := l.suppressed.Swap(0); n > 0 {
		l.log.Warn().Uint64("suppressed", n).Msg("more flows were refused")
	}
}

// named returns the approved resource of that name.
func (g *Gateway) named(name string) (resource.Resource, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.approved {
		if a.Resource.Name == name {
			return a.Resource, true
		}
	}
	return resource.Resource{}, false
}

// Test tries to reach an approved resource, as probe.Prober.Test.
func (g *Gateway) Test(ctx context.Context, name string, port uint16) []probe.Step {
	return g.prober().Test(ctx, name, port)
}

func (g *Gateway) prober() probe.Prober {
	wait := func(ctx context.Context, resource string) (release func(), err error) {
		return turn(ctx, g.dials, turns.Key{Resource: resource})
	}
	return probe.Prober{Dialer: g.dialer, Named: g.named, Turn: wait}
}
