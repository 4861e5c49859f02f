// Package dial makes the gateway's connections: it resolves the name of a match, has
// the addresses judged, and dials those that are allowed, by the machine's own way or
// by an exit.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/cache"
	"github.com/causeway-dev/causeway/helper/internal/gateway/judge"
	"github.com/causeway-dev/causeway/helper/internal/gateway/nss"
	"github.com/causeway-dev/causeway/helper/internal/gateway/ping"
	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// Options are what a Dialer uses of this machine. The zero value is ready for use.
type Options struct {
	// Dial opens a connection to a literal address; nil means a plain connect.
	Dial netx.DialFunc

	// Resolver finds the addresses of names; nil means SystemResolver, whose answers
	// serve for 1 s.
	Resolver Resolver

	// Exact finds the addresses of names that Resolver does not know, for resources that
	// are exactly that name. It returns none if it does not know the name either. nil
	// means nss.Lookup if Resolver is nil, and no such look-up otherwise.
	Exact func(ctx context.Context, name string) ([]netip.Addr, error)

	// Records answers for any type of record; nil means this machine's resolver.
	Records Records

	// Ping sends one ICMP echo request to a literal address and returns the data of
	// the reply, which the caller owns; nil means ping.Pinger. An error that is a
	// *tunnel.Error is the answer to the flow.
	Ping func(ctx context.Context, to netip.Addr, data []byte) ([]byte, error)

	// Interfaces returns the addresses of the machine's interfaces with their
	// prefix lengths, not masked; nil means those of the system. On an error the
	// Dialer refuses everything.
	Interfaces func() ([]netip.Prefix, error)

	// OwnPorts are the ports on which this helper itself listens. The Dialer refuses
	// them on this machine.
	OwnPorts []uint16

	Timeout time.Duration // of resolving and dialling together; 0 means 15 s
}

const defaultTimeout = 15 * time.Second

// Dialer resolves, judges and dials. Every address that it dials was judged with the
// match it is dialled for. It is safe for concurrent use.
type Dialer struct {
	system     Exit // the machine's own way
	exits      atomic.Pointer[map[string]Exit]
	exact      func(ctx context.Context, name string) ([]netip.Addr, error) // may be nil
	exactKnown *cache.Cache[string, []netip.Addr]
	interfaces func() ([]netip.Prefix, error)
	ownPorts   []uint16
	timeout    time.Duration
	attempts   sync.WaitGroup // dials, those that lost the race included
}

// New returns a Dialer that knows no exits.
func New(o Options) *Dialer {
	if o.Dial == nil {
		o.Dial = systemDial
	}
	if o.Resolver == nil && o.Exact == nil {
		o.Exact = nss.Lookup
	}
	if o.Resolver == nil {
		o.Resolver = newRecentNames(new(SystemResolver))
	}
	if o.Records == nil {
		o.Records = new(systemdns.Resolver)
	}
	if o.Ping == nil {
		o.Ping = new(ping.Pinger).Ping
	}
	if o.Interfaces == nil {
		o.Interfaces = netx.Interfaces
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Dialer{
		system:     ownWay{o.Dial, o.Resolver, o.Records, o.Ping},
		exact:      o.Exact,
		exactKnown: cache.New[string, []netip.Addr](maxNames, maxNameBytes),
		interfaces: recentInterfaces(o.Interfaces), ownPorts: o.OwnPorts, timeout: o.Timeout,
	}
}

// SetExits replaces the exits, by the names that resources use for them. The caller
// closes the exits and does not change the map.
func (d *Dialer) SetExits(exits map[string]Exit) { d.exits.Store(&exits) }

// Timeout returns the limit of resolving and dialling together.
func (d *Dialer) Timeout() time.Duration { return d.timeout }

// Wait waits for the attempts that have lost a race. The caller has canceled the
// contexts of all calls.
func (d *Dialer) Wait() { d.attempts.Wait() }

// Exit is one way into a private network: it resolves names and dials literal
// addresses. The gateway judges in between.
type Exit interface {
	Resolver
	Records
	// Dial opens a connection as a netx.DialFunc. The host of the address is a name if
	// the resource leaves the name to the exit. An error that is a *tunnel.Error is the
	// answer to the flow.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Records finds the records of names. The caller has checked that the names are
// approved, and judges the answers. See systemdns.Resolver for the contract.
type Records interface {
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
}

// pinger is an Exit that can send echo requests.
type pinger interface {
	// Ping is as Options.Ping.
	Ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error)
}

// ownWay is the exit of resources that name none.
type ownWay struct {
	dial netx.DialFunc
	Resolver
	Records
	ping func(ctx context.Context, to netip.Addr, data []byte) ([]byte, error)
}

// Dial implements Exit.
func (w ownWay) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return w.dial(ctx, network, address)
}

// LookupIPv6 implements ipv6Resolver.
func (w ownWay) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	if late, ok := w.Resolver.(ipv6Resolver); ok {
		return late.LookupIPv6(ctx, name)
	}
	return nil, nil
}

// Ping implements pinger.
func (w ownWay) Ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	return w.ping(ctx, to, data)
}

// Exit returns the way to a resource. The error is a *tunnel.Error.
func (d *Dialer) Exit(r resource.Resource) (Exit, error) {
	if r.Exit == "" {
		return d.system, nil
	}
	if exits := d.exits.Load(); exits != nil {
		if e := (*exits)[r.Exit]; e != nil {
			return e, nil
		}
	}
	return nil, &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("the gateway has no exit called %q", r.Exit)}
}

// Stage is a step of Open that has succeeded.
type Stage uint8

// The steps of Open before the dial.
const (
	Resolved Stage = iota
	Allowed
)

// Open connects to the target of a match. The error is a *tunnel.Error. reached is told
// of the steps; it must not block, and may be nil.
func (d *Dialer) Open(ctx context.Context, network resource.Network, m resource.Match, reached func(Stage)) (Connection, error) {
	if reached == nil {
		reached = func(Stage) {}
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if m.ByExit() {
		return d.OpenByName(ctx, network, m)
	}
	addrs, err := d.Resolve(ctx, m)
	if err != nil {
		return Connection{}, err
	}
	reached(Resolved)
	v, err := d.Judge(m, addrs)
	if err != nil {
		return Connection{}, err
	}
	if len(v.Allowed) == 0 {
		return Connection{}, &tunnel.Error{Code: tunnel.Denied, Reason: v.Reason()}
	}
	reached(Allowed)
	to, err := d.Race(ctx, string(network), m, v.Allowed)
	if err != nil {
		return d.retryIPv6(ctx, network, m, v.Allowed, err)
	}
	return to, nil
}

// retryIPv6 dials the IPv6 addresses that the look-up did not wait for, after the dial
// by IPv4 has failed. It returns failed if there are none.
func (d *Dialer) retryIPv6(ctx context.Context, network resource.Network, m resource.Match, tried []netip.Addr, failed error) (Connection, error) {
	e, _ := errors.AsType[*tunnel.Error](failed)
	unreachable := e != nil && (e.Code == tunnel.NetUnreachable || e.Code == tunnel.HostUnreachable || e.Code == tunnel.TimedOut)
	way, err := d.Exit(m.Resource)
	if err != nil || !unreachable || m.Name == "" || m.Resource.Host.IsLocalhost() || slices.ContainsFunc(tried, netip.Addr.Is6) || ctx.Err() != nil {
		return Connection{}, failed
	}
	late, ok := way.(ipv6Resolver)
	if !ok {
		return Connection{}, failed
	}
	addrs, err := late.LookupIPv6(ctx, m.Name)
	if err != nil || len(addrs) == 0 {
		return Connection{}, failed
	}
	v, err := d.Judge(m, addrs)
	if err != nil || len(v.Allowed) == 0 {
		return Connection{}, failed
	}
	return d.Race(ctx, string(network), m, v.Allowed)
}

// OpenByName has the exit resolve the name. The gateway cannot judge the address.
func (d *Dialer) OpenByName(ctx context.Context, network resource.Network, m resource.Match) (Connection, error) {
	way, err := d.Exit(m.Resource)
	if err != nil {
		return Connection{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := way.Dial(ctx, string(network), net.JoinHostPort(m.Name, strconv.Itoa(int(m.Port))))
	if err != nil {
		return Connection{}, Error(err)
	}
	return Connection{Conn: conn}, nil
}

// Known reports whether Resolve returns the addresses of a match without asking now. It
// does not if an exit asks.
func (d *Dialer) Known(m resource.Match) bool {
	if m.Addr.IsValid() || m.Resource.Host.IsLocalhost() {
		return true
	}
	own, ok := d.system.(ownWay)
	if !ok || m.Resource.Exit != "" {
		return false
	}
	recent, ok := own.Resolver.(*recentNames)
	return ok && recent.known.Has(m.Name)
}

// Resolve returns the addresses of a match, before they are judged.
func (d *Dialer) Resolve(ctx context.Context, m resource.Match) ([]netip.Addr, error) {
	switch {
	case m.Addr.IsValid():
		return []netip.Addr{m.Addr}, nil
	case m.Resource.Host.IsLocalhost():
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	case m.ByExit():
		return nil, &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("the exit resolves %s, so this machine knows no address for it", m.Name)}
	}
	way, err := d.Exit(m.Resource)
	if err != nil {
		return nil, err
	}
	addrs, err := way.LookupNetIP(ctx, m.Name)
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		if exact := d.Exact(ctx, m); len(exact) > 0 {
			return exact, nil
		}
	}
	if err != nil {
		return nil, ResolveError(m.Resource, m.Name, err)
	}
	if len(addrs) == 0 {
		return nil, ResolveError(m.Resource, m.Name, &net.DNSError{IsNotFound: true})
	}
	return addrs, nil
}

// exactLife is how long a result of Options.Exact serves, found or not.
const exactLife = 5 * time.Second

// Exact returns the addresses of a match that only the system's own resolver knows: by
// its search domains, mDNS or a directory. There is none if the resource is a wildcard
// or has an exit.
func (d *Dialer) Exact(ctx context.Context, m resource.Match) []netip.Addr {
	if d.exact == nil || m.Name == "" || m.Resource.Exit != "" || m.Resource.Host.Kind != nethost.Name || m.Name != m.Resource.Host.Name {
		return nil
	}
	addrs, _, err := d.exactKnown.Get(ctx, m.Name, func(ctx context.Context) (cache.Fetched[[]netip.Addr], error) {
		addrs, err := d.exact(ctx, m.Name)
		return cache.Fetched[[]netip.Addr]{Value: addrs, Life: exactLife, Size: len(m.Name) + 64*len(addrs)}, err
	})
	if err != nil {
		return nil
	}
	return slices.Clone(addrs)
}

// Judge decides which of the addresses a match may be dialled at. The error is a
// *tunnel.Error.
func (d *Dialer) Judge(m resource.Match, addrs []netip.Addr) (judge.Verdict, error) {
	around, err := d.Surroundings()
	if err != nil {
		return judge.Verdict{}, err
	}
	return judge.Addresses(m, addrs, around), nil
}

// Surroundings returns what the judge must know of this machine. The error is a
// *tunnel.Error.
func (d *Dialer) Surroundings() (judge.Surroundings, error) {
	own, err := d.interfaces()
	if err != nil {
		return judge.Surroundings{}, &tunnel.Error{Code: tunnel.Failed, Reason: "this machine's own addresses cannot be listed"}
	}
	return judge.Surroundings{Own: own, OwnPorts: d.ownPorts}, nil
}

// Ping sends an echo request to the first of the judged addresses that has a route, and
// returns which one. The error is a *tunnel.Error.
func (d *Dialer) Ping(ctx context.Context, m resource.Match, addrs []netip.Addr, data []byte) (reply []byte, at netip.Addr, err error) {
	way, err := d.Exit(m.Resource)
	if err != nil {
		return nil, at, err
	}
	p, ok := way.(pinger)
	if !ok {
		return nil, at, &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("the exit %q carries no pings", m.Resource.Exit)}
	}
	var worst *tunnel.Error
	for _, at = range interleave(addrs) {
		if reply, err = p.Ping(ctx, at, data); err == nil {
			return reply[:min(len(reply), netx.MaxDatagram)], at, nil
		}
		e := Error(err)
		worst = tellingOf(worst, e)
		if e.Code != tunnel.NetUnreachable || ctx.Err() != nil {
			break
		}
	}
	return nil, at, worst
}
