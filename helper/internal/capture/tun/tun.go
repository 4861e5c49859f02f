// Package tun is the capture source for addresses, networks and names, by a TUN
// device. Routes lead to the device for the resources that are addresses or networks,
// and for the addresses that stand for names. A TCP and UDP stack in this process
// terminates the connections, so that no TCP runs inside TCP. It accepts a connection
// after the gateway has connected, and refuses it if the gateway was refused. It
// answers a ping if the gateway's ping was answered. For an address that stands for a
// name, it asks the gateway by name. The device and its routes disappear when this
// process ends. Only hostnet has privileges.
package tun

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/rs/zerolog"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// Host sets the routes to a device; a hostnet.Host is one.
type Host interface {
	SetRoutes(ctx context.Context, prefixes []netip.Prefix) ([]hostnet.RouteReport, error)
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Names gives programs the addresses that stand for names; a names.Source is one.
type Names interface {
	// Lead says which addresses lead to the device; zero ranges: none.
	Lead(hostnet.Ranges)
	// At returns the name that an address stands for, if any.
	At(netip.Addr) (string, bool)
}

// Started is a device without routes, and the Host that sets them.
type Started struct {
	Host   Host
	File   *os.File // the only descriptor
	Device *hostnet.Device
}

// Options of a Source. All but Names, CoversName, Beside, Changed and Retry
// are required.
type Options struct {
	Log     zerolog.Logger
	Gateway *flow.Gateway
	// Covers tells whether a resource has that address and port; network is
	// "tcp", "udp" or "icmp", which has no port.
	Covers func(network string, addr netip.Addr, port uint16) bool
	// Names lead to the device while there is one; nil: none do.
	Names Names
	// CoversName is Covers for a name; required if there are Names.
	CoversName func(network, name string, port uint16) bool
	// Beside connects to a port of a name that no resource lists, as this machine did
	// before there were resources; nil: such ports are refused. flow.Code knows its
	// errors.
	Beside func(ctx context.Context, network, name string, port uint16) (net.Conn, error)
	// Check tells which user connects from client to server by the device with that
	// index, or refuses the connection.
	Check func(client, server netip.AddrPort, device int) (owner.Owner, error)
	// CheckUDP is Check for a datagram from remote.
	CheckUDP func(local, remote netip.AddrPort) (owner.Owner, error)
	// CheckEcho is Check for an echo request with the identifier id.
	CheckEcho func(client netip.Addr, id uint16) (owner.Owner, error)
	// Start makes a device.
	Start func(context.Context) (Started, error)
	// Changed is called after Report has changed, if not nil. It must not block
	// or call back.
	Changed func()
	// Retry is how long the Source waits at first before it makes a lost device
	// again; 0 means 2 s.
	Retry time.Duration

	open func(*os.File) (wgtun.Device, error)
}

// Route tells how a published resource is served.
type Route struct {
	Address bool   // the resource is an address or a network; otherwise the rest is empty
	Served  bool   // programs reach it by its addresses
	Trouble string // why it is not served, or a restriction; without full stop
}

const (
	lastRetry = time.Minute
	// refresh is how often the Source asks again for routes that were refused: the
	// obstacle may be gone.
	refresh = 10 * time.Second
)

// Source serves the published addresses. It is safe for concurrent use.
type Source struct {
	o     Options
	setup context.Context // alive until Close
	stop  context.CancelFunc
	wg    sync.WaitGroup // the watchers

	mu       sync.Mutex // held while device and routes change
	watching bool
	closed   bool
	set      *offer.Set
	engine   *engine // nil without a device
	host     Host    // nil without a device
	names    hostnet.Ranges
	err      error // why there is no device
	retry    time.Duration
	again    time.Time // when to try again; zero: with the next Apply
	refused  bool      // the host refused a route
	asked    time.Time // when the Source last set routes

	report atomic.Pointer[[]Route]
	lost   chan struct{} // of capacity 1: look at the device
}

// New returns a Source that serves nothing yet.
func New(o Options) *Source {
	if o.Retry == 0 {
		o.Retry = 2 * time.Second
	}
	o.open = openDevice
	s := &Source{o: o, lost: make(chan struct{}, 1)}
	s.setup, s.stop = context.WithCancel(context.Background())
	s.set = &offer.Set{}
	s.report.Store(&[]Route{})
	return s
}

// Apply serves the resources of set, and no others. Flows that have begun go on. It
// returns when the routes are as Report says.
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
	s.err, s.retry, s.again = nil, s.o.Retry, time.Time{}
	s.reconcile()
}

// Report tells of each resource of the last Apply.
func (s *Source) Report() []Route { return *s.report.Load() }

// Close resets the flows, removes the device and waits for what it started.
func (s *Source) Close() {
	s.stop()
	s.mu.Lock()
	s.closed = true
	s.shut()
	s.mu.Unlock()
	s.wg.Wait()
}

// watch looks after the device.
func (s *Source) watch() {
	t := time.NewTicker(s.o.Retry / 2)
	defer t.Stop()
	for {
		select {
		case <-s.setup.Done():
			return
		case <-s.lost:
		case <-t.C:
		}
		s.mu.Lock()
		if !s.closed {
			s.look()
		}
		s.mu.Unlock()
	}
}

// look reacts to a change of the device. The caller holds s.mu.
func (s *Source) look() {
	switch {
	case s.engine != nil && s.dead():
		s.lose(errors.Join(errors.New("lost the TUN device"), s.host.Err()))
		s.updateReport(nil)
	case s.engine == nil && !s.again.IsZero() && time.Now().After(s.again):
		s.err, s.again = nil, time.Time{}
		s.reconcile()
	case s.engine != nil && s.refused && time.Since(s.asked) > refresh:
		s.reconcile()
	}
}

func (s *Source) dead() bool {
	select {
	case <-s.host.Done():
	case <-s.engine.gone:
	default:
		return false
	}
	return true
}

// lose gives the device up, to try again later.
func (s *Source) lose(err error) {
	s.o.Log.Warn().Err(err).Msg("lost the TUN device")
	s.shut()
	s.err, s.again = err, time.Now().Add(s.retry)
	s.retry = min(2*s.retry, lastRetry)
}

// shut closes the device. Before that, names lead elsewhere. The caller holds s.mu.
func (s *Source) shut() {
	if s.engine == nil {
		return
	}
	s.lead(hostnet.Ranges{})
	s.engine.close()
	if err := s.host.Close(); err != nil {
		s.o.Log.Warn().Err(err).Msg("TUN device")
	}
	s.engine, s.host = nil, nil
}

func (s *Source) lead(r hostnet.Ranges) {
	if s.o.Names != nil {
		s.o.Names.Lead(r)
	}
}

// reconcile brings device and routes in line with the published set. The caller holds
// s.mu.
func (s *Source) reconcile() {
	var prefixes []netip.Prefix
	for _, r := range s.set.All {
		if prefix, ok := r.Prefix(); ok && !slices.Contains(prefixes, prefix) && len(prefixes) < hostnet.MaxRoutes {
			prefixes = append(prefixes, prefix)
		}
	}
	forNames := s.forNames()
	if len(prefixes) == 0 && !forNames {
		s.shut()
		s.updateReport(nil)
		return
	}
	if s.engine == nil && s.err == nil {
		s.err = s.start()
	}
	if s.engine == nil {
		s.updateReport(nil)
		return
	}
	reports, err := s.host.SetRoutes(s.setup, prefixes)
	s.asked = time.Now()
	if err != nil {
		s.lose(err)
		s.updateReport(nil)
		return
	}
	refused := func(r hostnet.RouteReport) bool { return r.Refused != "" }
	s.refused = slices.ContainsFunc(reports, refused)
	if !slices.ContainsFunc(reports, func(r hostnet.RouteReport) bool { return !refused(r) }) && !forNames {
		s.shut() // no route leads there
	} else {
		s.lead(s.names)
	}
	s.updateReport(reports)
}

// forNames tells whether there are names that should lead to the device.
func (s *Source) forNames() bool { return s.o.Names != nil && s.set.HasNames() }

// start makes the device.
func (s *Source) start() error {
	d, err := s.o.Start(s.setup)
	if err != nil {
		return err
	}
	dev, err := s.o.open(d.File)
	if err == nil {
		s.engine, err = newEngine(s.o, dev, d.Device.MTU, d.Device.Index)
	}
	if err != nil {
		return errors.Join(err, d.Host.Close())
	}
	s.host, s.names = d.Host, d.Device.Names
	s.o.Log.Info().Str("device", d.Device.Name).Msg("TUN device up")
	gone := s.engine.gone
	s.wg.Go(func() {
		select {
		case <-d.Host.Done():
		case <-gone:
		case <-s.setup.Done():
		}
		select {
		case s.lost <- struct{}{}:
		default:
		}
	})
	return nil
}

// updateReport makes the report, and calls Changed if it is another one. reports are
// about the routes, if there is a device. The caller holds s.mu.
func (s *Source) updateReport(reports []hostnet.RouteReport) {
	routes := make([]Route, len(s.set.All))
	for i, r := range s.set.All {
		prefix, ok := r.Prefix()
		if !ok {
			continue
		}
		routes[i] = Route{Address: true, Trouble: "there are too many routes"}
		if s.err != nil {
			routes[i].Trouble = s.err.Error()
		}
		for _, r := range reports {
			if r.Prefix == prefix {
				routes[i] = routeOf(r)
			}
		}
	}
	if slices.Equal(routes, *s.report.Load()) {
		return
	}
	s.report.Store(&routes)
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

func routeOf(r hostnet.RouteReport) Route {
	if r.Refused != "" {
		return Route{Address: true, Trouble: "no route leads to " + r.Prefix.String() + ": " + r.Refused}
	}
	route := Route{Address: true, Served: true}
	var stays []string
	if len(r.Around) > 0 {
		stays = append(stays, "these addresses stay as they are: "+strings.Join(r.Around, "; "))
	}
	if len(r.Local) > 0 {
		local := make([]string, len(r.Local))
		for i, p := range r.Local {
			local[i] = p.String()
		}
		stays = append(stays, "this machine's own networks stay as they are: "+strings.Join(local, ", "))
	}
	route.Trouble = strings.Join(stays, "; ")
	return route
}
