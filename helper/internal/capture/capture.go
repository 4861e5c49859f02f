// Package capture is the helper's role on the remote. It offers the resources that
// the gateway publishes to the programs there, through its sources. It decides
// nothing: the gateway says which targets may be reached.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/capture/bridge"
	"github.com/causeway-dev/causeway/helper/internal/capture/dns"
	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/names"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/capture/proxy"
	"github.com/causeway-dev/causeway/helper/internal/capture/tun"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// Options of Serve. The function that starts a source is required unless the source
// is off.
type Options struct {
	Log zerolog.Logger
	UID int // the user whose programs the capture serves, besides root
	// Users are served too: a list as owner.CheckUsers takes it.
	Users   []string
	Sources Sources

	// StartHosts begins to edit the hosts file.
	StartHosts func(context.Context) (names.Hosts, error)
	// StartResolver begins to edit resolv.conf, for the stub resolver.
	StartResolver func(context.Context) (dns.Editor, error)

	// StartTun makes a TUN device, for addresses, networks and names.
	StartTun func(context.Context) (tun.Started, error)
	// Bridges are the bridges of this host whose containers the capture serves too.
	// StartBridge prepares one.
	Bridges     []string
	StartBridge func(ctx context.Context, device string) (bridge.Host, netip.Prefix, error)
	// HandoverPath is the socket at which "causeway run" hands over its connections;
	// "" means that there is none.
	HandoverPath string

	// Join makes the capture one of several of this process that may claim the same
	// names; leave is called once its names are cleaned up. Nil: there are no others.
	Join func(Member) (place Place, leave func())

	// Changed gets each new Status; may be nil. It must not block.
	Changed func(Status)
}

// Mode says whether a source is used.
type Mode int

// The modes of a source.
const (
	Auto Mode = iota // use it if it is available
	On               // as Auto, and report a problem at each resource if it is not available
	Off              // do not use it
)

// Sources has the mode of each source that the session may do without.
type Sources struct {
	Names Mode // exact names, by the hosts file
	DNS   Mode // names and wildcards, by a stub resolver
	Tun   Mode // addresses, networks and names, by a TUN device
	Proxy Mode // SOCKS5 and HTTP
}

// Status is what the capture offers now.
type Status struct {
	Proxy string   // host:port of the proxy, "" without one
	Names []string // host names that have an address of their own
	Notes []string // sentences for the user
}

// Serve joins the session s until s or ctx ends, and leaves nothing behind on
// the machine. It returns why it ended.
func Serve(ctx context.Context, s *tunnel.Session, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	control, err := s.Control(ctx)
	if err != nil {
		return fmt.Errorf("wait for the gateway: %w", err)
	}
	c := &capture{o: o, s: s, control: control, report: make(chan struct{}, 1),
		telling: make(chan struct{}, maxTelling), told: make(chan peer.Told), ended: ctx.Done()}
	c.offered.Store(&offer.Set{})
	check := c.checker()
	defer func() { _ = check.Close() }()
	c.gateway = flow.New(flow.Options{Log: o.Log, Tunnel: s, Origin: c.origin(check)})
	if o.Join != nil {
		place, leave := o.Join(c)
		defer leave()
		c.place = place
	}
	if err := c.start(check); err != nil {
		_ = control.Close()
		return err
	}
	defer c.close()
	c.started.Store(true)

	stop := context.AfterFunc(ctx, func() { _ = control.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := c.reportChanges(ctx); err != nil {
			cancel(err)
		}
	})
	err = c.follow()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	return err
}

type capture struct {
	o        Options
	s        *tunnel.Session
	gateway  *flow.Gateway
	control  *tunnel.Stream
	names    *names.Source
	dns      *dns.Source      // nil without
	proxy    *proxy.Proxy     // nil without
	proxyErr error            // why there is no proxy although it is not off
	tun      *tun.Source      // nil without
	run      *handover.Server // nil without
	bridges  []*bridge.Source
	place    Place                     // among the captures of this process; nil without others
	offered  atomic.Pointer[offer.Set] // what the gateway published last
	strict   atomic.Bool
	report   chan struct{}
	telling  chan struct{} // a slot for each question under way
	told     chan peer.Told
	ended    <-chan struct{} // closed when nothing more is reported
	started  atomic.Bool     // all fields above are set
	busy     atomic.Bool     // the sources are changing: the report waits until all of them have changed

	notes []string // written once, by start

	mu      sync.Mutex
	refused []string // users, in the order of their first connection
}

// checker returns the check of who is served, and tells of those who are refused.
func (c *capture) checker() *owner.Checker {
	check := owner.New(c.o.UID)
	users, notes := owner.UsersOf(c.o.Users)
	check.Users = users
	c.notes = append(c.notes, notes...)
	check.Refused = func(user string) {
		c.mu.Lock()
		c.refused = append(c.refused, user)
		c.mu.Unlock()
		c.changed()
	}
	return check
}

func (c *capture) start(check *owner.Checker) error {
	c.names = names.New(names.Options{
		Log: c.o.Log, Gateway: c.gateway, UID: c.o.UID,
		Check: check.Check, CheckConnecting: check.CheckConnecting, CheckUDP: check.CheckUDP, StartHosts: c.o.StartHosts, Changed: c.changed,
		NoHosts: c.o.Sources.Names == Off, OnlyLocal: c.o.Sources.Names == Off && c.o.Sources.DNS == Off, Elsewhere: c.elsewhere,
	})
	if c.o.Sources.Proxy != Off {
		p, err := proxy.Listen(proxy.Options{
			Log: c.o.Log, Gateway: c.gateway, UID: c.o.UID,
			Match:  c.proxied,
			Strict: c.strict.Load,
			Check:  check.Check, CheckUDP: check.CheckUDP,
		})
		if err != nil {
			c.proxyErr = err
			c.notes = append(c.notes, "There is no proxy: "+err.Error())
			c.o.Log.Warn().Err(err).Msg("no proxy")
		} else {
			c.proxy = p
		}
	}
	if c.o.HandoverPath != "" {
		h, err := handover.Listen(handover.Options{Log: c.o.Log, Gateway: c.gateway, Path: c.o.HandoverPath,
			CheckUDP: check.CheckUDP, RefuseUDP: c.names.RefuseUDP, Covers: c.covers, At: c.names.At})
		if err != nil {
			c.o.Log.Warn().Err(err).Msg("causeway run will not find this session")
		} else {
			c.run = h
		}
	}
	if c.o.Sources.DNS != Off {
		c.dns = dns.New(dns.Options{
			Log: c.o.Log, Gateway: c.gateway, Names: c.names,
			Covers: c.asksHere, Exact: c.isExact, Asleep: c.asleep,
			Check: check.Check, CheckUDP: check.CheckUDP,
			StartEditor: c.o.StartResolver, ResolvPath: hostnet.DefaultResolvPath, Changed: c.changed,
		})
	}
	if c.o.Sources.Tun != Off {
		o := tun.Options{
			Log: c.o.Log, Gateway: c.gateway, CoversName: c.covers, Beside: dns.NewBefore(hostnet.DefaultResolvPath).Dial,
			Covers: func(network string, addr netip.Addr, port uint16) bool {
				return c.offered.Load().CoversAddr(network, addr, port)
			},
			Check: check.CheckConnecting, CheckUDP: check.CheckUDP, CheckEcho: check.CheckEcho, Start: c.o.StartTun, Changed: c.changed,
		}
		if c.o.Sources.Names != Off || c.o.Sources.DNS != Off {
			o.Names = c.names
		}
		c.tun = tun.New(o)
	}
	for _, device := range c.o.Bridges {
		c.bridges = append(c.bridges, bridge.New(bridge.Options{
			Log: c.o.Log, Tunnel: c.s, UID: c.o.UID, Device: device,
			Covers: c.hasName, Exact: c.isExact,
			Start: c.o.StartBridge, ResolvPath: hostnet.DefaultResolvPath, Changed: c.changed,
		}))
	}
	return nil
}

// covers tells whether a resource has a target; port 0 stands for any.
func (c *capture) covers(network, host string, port uint16) bool {
	return c.offered.Load().Covers(network, host, port)
}

// proxied is covers for a request to the proxy, which may spell out localhost.
func (c *capture) proxied(network, host string, port uint16) bool {
	if offer.IsLocalhost(host) {
		return c.names.OnLocalhost(network, port)
	}
	return c.covers(network, host, port)
}

// hasName tells whether a name, or an address in its place, is a resource's.
func (c *capture) hasName(host string) bool { return c.covers("lookup", host, 0) }

// isExact tells whether a name is a resource of its own.
func (c *capture) isExact(name string) bool { return len(c.offered.Load().Exact(name)) > 0 }

// close stops the sources. Those that lead programs here come first.
func (c *capture) close() {
	for _, b := range c.bridges {
		b.Close()
	}
	if c.dns != nil {
		if err := c.dns.Close(); err != nil {
			c.o.Log.Warn().Err(err).Msg("resolv.conf not put back")
		}
	}
	if err := c.names.Close(); err != nil {
		c.o.Log.Warn().Err(err).Msg("names not cleaned up")
	}
	if c.tun != nil { // after the names that lead there
		c.tun.Close()
	}
	if c.proxy != nil {
		_ = c.proxy.Close()
	}
	if c.run != nil {
		_ = c.run.Close()
	}
	_ = c.control.Close()
}

// follow applies what the gateway publishes until the control stream ends.
func (c *capture) follow() error {
	r := peer.NewReader(c.control)
	for {
		var m peer.ToCapture
		if err := r.Read(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the gateway ended the session")
			}
			return fmt.Errorf("read from the gateway: %w", err)
		}
		if m.Ask != nil {
			c.answer(*m.Ask)
		}
		if m.Publish == nil {
			continue
		}
		set, err := offer.Parse(m.Resources)
		if err != nil {
			return err
		}
		c.o.Log.Info().Int("resources", len(set.All)).Msg("resources published")
		c.apply(set, m.StrictProxy)
	}
}

// apply makes set the whole of what the sources serve.
func (c *capture) apply(set *offer.Set, strict bool) {
	c.busy.Store(true)
	c.strict.Store(strict)
	c.offered.Store(set)
	if c.tun != nil { // before the names that lead there
		c.tun.Apply(set)
	}
	c.names.Apply(set)
	if c.dns != nil {
		c.dns.Apply(set.HasNames())
	}
	for _, b := range c.bridges {
		b.Apply(set)
	}
	c.busy.Store(false)
	c.changed()
	if c.place != nil {
		c.place.Changed()
	}
}

func (c *capture) changed() {
	if c.busy.Load() {
		return // follow tells of it
	}
	select {
	case c.report <- struct{}{}:
	default:
	}
}

// reportChanges tells the gateway and the driver how each resource is served.
func (c *capture) reportChanges(ctx context.Context) error {
	for {
		select {
		case <-c.report:
		case told := <-c.told:
			if err := peer.Write(c.control, peer.ToGateway{Told: &told}); err != nil {
				return fmt.Errorf("report to the gateway: %w", err)
			}
			continue
		case <-ctx.Done():
			return nil
		}
		report, status := c.compose()
		if err := peer.Write(c.control, report); err != nil {
			return fmt.Errorf("report to the gateway: %w", err)
		}
		if c.o.Changed != nil {
			c.o.Changed(status)
		}
	}
}
