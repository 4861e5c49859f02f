// Package names is the capture source for host names. If there is a TUN device,
// programs get addresses that lead to the device, and its reader asks this package
// which name an address stands for. Otherwise each name gets a loopback address of
// its own, with a listener for each of its ports. Exact names are in the hosts file.
// The stub resolver adds a name below a wildcard when a program first looks it up.
//
// Resources to which localhost leads have listeners at 127.0.0.1 and ::1, with a device
// too, and are found without any entry.
package names

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/held"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/rs/zerolog"
)

// Hosts edits the hosts file, and does for ports of loopback what this process has
// no right to do; a hostnet.Host is one.
type Hosts interface {
	SetHosts(ctx context.Context, entries []hostnet.Entry) error
	ListenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	ListenUDP(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
	Watch(ctx context.Context) (*os.File, error)
	Refuse(ctx context.Context, r held.Refusal) error
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Options of a Source. Gateway, Check and StartHosts are required.
type Options struct {
	Log     zerolog.Logger
	Gateway *flow.Gateway
	// Check tells whose connection it is, or refuses it.
	Check func(net.Conn) (owner.Owner, error)
	// CheckConnecting is Check for a connection from client, a socket of this host,
	// to server that is not established yet. If it is nil, connections are accepted
	// before the gateway has connected.
	CheckConnecting func(client, server netip.AddrPort, device int) (owner.Owner, error)
	// CheckUDP is Check for a datagram; required if a resource has UDP.
	CheckUDP func(local, remote netip.AddrPort) (owner.Owner, error)
	// StartHosts begins to edit the hosts file. If it fails, names get ports of
	// 127.0.0.1.
	StartHosts func(context.Context) (Hosts, error)
	// NoHosts leaves the hosts file alone. Programs find names by the stub resolver;
	// without it, names have no ports.
	NoHosts bool
	// OnlyLocal serves no names: only the ports of localhost.
	OnlyLocal bool
	// Elsewhere tells whether another Source of this process serves a port of a name or
	// of localhost, or for the network lookup and port 0, the name. The Source then
	// leaves it alone. Call Refresh when the answer may have changed. Nil: none does.
	Elsewhere func(network, host string, port uint16) bool
	// Place is where names are served; nil: on loopback.
	Place *Place
	// UID is the user whose addresses and ports these are.
	UID int
	// Changed is called after Report has changed, if not nil. It must not block
	// or call back.
	Changed func()
	// Retry is how often the Source tries again to bind a port that is taken; 0 means
	// every 2 s.
	Retry time.Duration
	// Idle is how long a name below a wildcard must be unused before another name
	// may take its place; 0 means 1 h.
	Idle time.Duration
	// Linger is how long listeners go on after their names lead to a device, for
	// programs that looked the names up before; 0 means 1 min.
	Linger time.Duration
}

// Report tells how the published resources are served.
type Report struct {
	Names []peer.NameReport // in the order of publication
	Notes []string          // sentences for the user
	Hosts error             // why exact names are not in the hosts file; nil if they are, or need not be
}

// maxConns bounds the connections to all names at a time.
const maxConns = 4096

// Source serves the published names. It is safe for concurrent use.
type Source struct {
	o     Options
	slots chan struct{} // of connections

	setup     context.Context // alive until Close begins: for the hosts file
	stopSetup context.CancelFunc
	ctx       context.Context // alive until the hosts block is gone: for flows
	stop      context.CancelFunc
	wg        sync.WaitGroup // accept loops, flows and the watcher

	mu        sync.Mutex // held while ports are bound and the hosts file is written
	watching  bool
	closed    bool
	set       *offer.Set
	looked    []string // names that wildcards cover, in the order of look-up
	recent    recent   // of these
	lookedSet map[string]bool
	plan      *plan
	byDNS     bool // programs ask the stub resolver
	addrs     addresses
	led       map[string]led
	listeners map[endpoint]*listener
	problems  map[endpoint]*problem
	lastLook  time.Time // for the holders of ports
	linger    time.Time // until when listeners of led names go on; zero: there are none
	hosts     hostsState
	watcher   watcher

	numbers *numbers
	report  atomic.Pointer[Report]
	served  atomic.Pointer[table]
}

// New returns a Source that serves nothing yet.
func New(o Options) *Source {
	if o.Retry == 0 {
		o.Retry = 2 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = time.Hour
	}
	if o.Linger == 0 {
		o.Linger = time.Minute
	}
	s := &Source{o: o, addrs: newAddresses(o.UID), numbers: newNumbers(o.UID),
		slots:     make(chan struct{}, maxConns),
		listeners: make(map[endpoint]*listener), problems: make(map[endpoint]*problem)}
	s.addrs.place = o.Place
	if o.Place != nil || o.OnlyLocal {
		s.o.NoHosts = true
	}
	s.setup, s.stopSetup = context.WithCancel(context.Background())
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.set, s.plan, s.lookedSet = &offer.Set{}, &plan{}, make(map[string]bool)
	s.report.Store(&Report{})
	s.served.Store(newTable())
	return s
}

// Apply serves the resources of set, and no others. It does not interrupt listeners
// and flows of resources that stay. It returns when ports and hosts file are as
// Report says.
func (s *Source) Apply(set *offer.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if !s.watching {
		s.watching = true
		s.wg.Go(s.watch)
	}
	s.set = set
	s.looked = slices.DeleteFunc(s.looked, func(name string) bool {
		gone := len(set.Wildcards(name)) == 0
		if gone {
			s.recent.remove(name)
		}
		return gone
	})
	s.lookedSet = make(map[string]bool, len(s.looked))
	for _, name := range s.looked {
		s.lookedSet[name] = true
	}
	s.reconcile()
}

// Report tells how the resources of the last Apply are served.
func (s *Source) Report() Report { return *s.report.Load() }

// Close takes the names out of the hosts file, stops listening, resets the
// flows and waits for them.
func (s *Source) Close() error {
	s.stopSetup()
	s.mu.Lock()
	err := s.hosts.close()
	s.closed = true
	for e, l := range s.listeners {
		_ = l.Close()
		delete(s.listeners, e)
	}
	s.mu.Unlock()
	s.stop()
	s.closeWatcher()
	s.wg.Wait()
	return err
}

// watch tries again to bind ports and to edit the hosts file.
func (s *Source) watch() {
	t := time.NewTicker(s.o.Retry)
	defer t.Stop()
	for {
		select {
		case <-s.setup.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		over := !s.linger.IsZero() && time.Now().After(s.linger)
		if over {
			s.linger = time.Time{}
		}
		if !s.closed && (over || s.hosts.died() || s.hosts.mayRestart() || s.anyConflict()) {
			s.reconcile()
		}
		s.mu.Unlock()
	}
}

// reconcile makes listeners and hosts file what set asks for. A name goes into
// the file after its ports are bound, and out of it before they close.
// The caller holds s.mu.
func (s *Source) reconcile() {
	exact := s.set.Names()
	s.plan = makePlan(s.set, s.looked)
	local := s.here(s.localEndpoints())
	all := s.here(s.plan.endpoints(exact, s.looked))
	if s.o.NoHosts && !s.byDNS {
		all = nil
	}
	if len(all) > 0 || slices.ContainsFunc(local, endpoint.low) || !s.o.NoHosts && s.numbers.leads() && len(exact) > 0 { // the editor may have to open low ports
		s.hosts.start(s.setup, s.o.StartHosts)
	}
	s.findLed(exact)
	stale := s.bindAll(append(s.toListen(all), local...))
	if err := s.hosts.set(s.setup, s.entries()); err != nil && s.setup.Err() == nil {
		s.findLed(exact) // there is no hosts file any more
		stale = append(stale, s.bindAll(append(s.toListen(all), local...))...)
	}
	for _, l := range stale {
		_ = l.Close()
	}
	s.findHolders()
	s.updateServed()
	s.updateReport()
}

// look serves name, which a wildcard covers and nobody has looked up before. Its
// cost does not depend on what else is served. The caller holds s.mu.
func (s *Source) look(name string) {
	s.looked, s.lookedSet[name] = append(s.looked, name), true
	s.recent.add(name)
	if s.shares() || s.hosts.editor == nil && s.hosts.err == nil || s.hosts.died() || s.hosts.mayRestart() {
		s.reconcile() // other names, or the privileged child, may be affected
		return
	}
	s.plan.look(s.set, name)
	want := s.here(s.plan.of[name])
	at, leads := s.leadTo(name)
	if leads {
		s.led[name] = at
	}
	if leads || s.o.NoHosts && !s.byDNS {
		want = nil
	}
	for _, e := range want {
		s.bindOne(e)
	}
	failed := false
	for _, e := range want {
		if l := s.listeners[e]; l != nil {
			s.served.Load().add(name, l, s.shares())
		} else {
			failed = true
		}
	}
	if leads {
		s.served.Load().lead(name, at)
	}
	if failed || s.plan.over[name] > 0 {
		s.findHolders()
		s.updateReport()
	}
}

// toListen returns those of the endpoints that get a listener. A name that leads
// to the device gets none, so that its ports stay free for programs of this
// machine. The caller holds s.mu.
func (s *Source) toListen(all []endpoint) []endpoint {
	lingers := time.Now().Before(s.linger)
	return slices.DeleteFunc(slices.Clone(all), func(e endpoint) bool {
		_, leads := s.led[e.host]
		return leads && (!lingers || s.listeners[e] == nil)
	})
}

// bindAll brings listeners and problems in line with want. It returns the listeners
// that are not needed any more. The caller holds s.mu.
func (s *Source) bindAll(want []endpoint) (stale []*listener) {
	wanted := make(map[endpoint]bool, len(want))
	all := want
	if s.shares() {
		want = s.apart(want)
	}
	for _, e := range want {
		wanted[e] = true
		if old := s.bindOne(e); old != nil {
			stale = append(stale, old)
		}
	}
	for e, l := range s.listeners {
		if !wanted[e] {
			delete(s.listeners, e)
			stale = append(stale, l)
		}
	}
	for _, e := range all {
		wanted[e] = true
	}
	for e := range s.problems {
		if !wanted[e] {
			delete(s.problems, e)
		}
	}
	return stale
}

// bindOne gives e its listener. It returns the old listener if that is not needed any
// more. The caller holds s.mu.
func (s *Source) bindOne(e endpoint) (stale *listener) {
	named := (s.hosts.editor != nil || s.byDNS || s.o.NoHosts) && hostnet.CheckName(e.host) == nil
	old := s.listeners[e]
	if old != nil && s.stopped(old) {
		_ = old.Close() // first of all: another listener gets the port
		delete(s.listeners, e)
		old = nil
	}
	if old != nil && (old.named == named || named && old.noAddress) {
		return nil
	}
	l, err := s.listen(e, named)
	if err != nil {
		s.setProblem(e, err)
		delete(s.listeners, e)
	} else {
		delete(s.problems, e)
		s.listeners[e] = l
	}
	return old
}

// entries returns the exact names that lead to the device or have a listener at their
// own address.
func (s *Source) entries() []hostnet.Entry {
	var all []hostnet.Entry
	if s.o.NoHosts {
		return nil
	}
	seen := maps.Clone(s.lookedSet) // only the stub resolver knows these
	for host, at := range s.led {
		if seen[host] {
			continue
		}
		seen[host] = true
		for _, a := range []netip.Addr{at.v4, at.v6} {
			if a.IsValid() {
				all = append(all, hostnet.Entry{Address: a, Names: []string{host}})
			}
		}
	}
	for e, l := range s.listeners {
		if l.named && !seen[e.host] {
			seen[e.host] = true
			all = append(all, hostnet.Entry{Address: l.at.Addr(), Names: []string{e.host}})
		}
	}
	slices.SortFunc(all, func(a, b hostnet.Entry) int { return a.Address.Compare(b.Address) })
	return all
}
