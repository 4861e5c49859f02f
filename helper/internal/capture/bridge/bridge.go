// Package bridge serves the names of resources to the containers on one bridge of
// this host. It runs a stub resolver at the host's address on the bridge, and
// listeners at addresses that the host answers for. Containers must be configured
// with the stub as their nameserver. Every client on the bridge is served; the
// listeners accept nothing that arrives by another way.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/dns"
	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/names"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// Host adds addresses for as long as it lives, and opens low ports on the bridge; a
// hostnet.Behind is one.
type Host interface {
	names.Hosts
}

// Options of a Source. All but Port, Retry and Changed are required.
type Options struct {
	Log    zerolog.Logger
	Tunnel flow.Opener
	UID    int    // whose addresses these are
	Device string // the bridge
	// Covers tells whether a resource covers a name, or an address in its place.
	Covers func(host string) bool
	// Exact tells whether a name is a resource of its own.
	Exact func(name string) bool
	// Start makes this host answer for the addresses of names on the bridge. If it
	// fails, names share the host's own address there.
	Start      func(ctx context.Context, device string) (Host, netip.Prefix, error)
	ResolvPath string
	Port       uint16 // of the stub resolver; 0 means 53
	// Retry is how often the Source looks whether the bridge has changed; 0 means 2
	// s.
	Retry time.Duration
	// Changed is called after Report has changed, if not nil. It must not block.
	Changed func()
}

// Report tells how the bridge is served.
type Report struct {
	Note  string            // a sentence for the user
	Names []peer.NameReport // in the order of publication, with Trouble alone; empty while nothing is served
}

// Source serves one bridge. It is safe for concurrent use.
type Source struct {
	o       Options
	gateway *flow.Gateway
	ctx     context.Context // alive until Close
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex // held while it is set up or taken down
	set      *offer.Set
	watching bool
	standing *standing // nil while nothing is served
	lost     int       // how often the host of addresses was lost
	err      error     // why nothing is served
}

// standing has the parts that serve the bridge.
type standing struct {
	at    netip.Prefix // this host on the bridge
	index int          // of the bridge; a bridge that is made again has another index
	host  Host         // nil without privilege
	lacks error        // why host is nil
	names *names.Source
	dns   *dns.Source
	here  addresses
	asked time.Time // when the Source last tried to get the port of the stub resolver
}

// portAgain is how often the Source tries again to get the port of the stub resolver.
const portAgain = 15 * time.Second

// New returns a Source that does nothing yet.
func New(o Options) *Source {
	if o.Retry == 0 {
		o.Retry = 2 * time.Second
	}
	s := &Source{o: o}
	s.gateway = flow.New(flow.Options{Log: o.Log, Tunnel: o.Tunnel, Origin: s.origin})
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Apply serves the resources of set, and no others. It returns when they are served.
func (s *Source) Apply(set *offer.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.set = set
	if s.standing != nil {
		s.standing.names.Apply(set)
		s.standing.dns.Apply(true) // clears its cache
	}
	s.look()
	if !s.watching {
		s.watching = true
		s.wg.Go(s.watch)
	}
}

// Close undoes everything, and waits for it.
func (s *Source) Close() {
	s.stop()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeDown()
}

// Report tells what is served.
func (s *Source) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	device := s.o.Device
	st := s.standing
	if st == nil {
		if s.err == nil {
			return Report{}
		}
		return Report{Note: fmt.Sprintf("Nothing is served on the bridge %s: %v", device, s.err)}
	}
	if note := st.dns.Note(); note != "" {
		return Report{Note: fmt.Sprintf("Nothing is served on the bridge %s: %s", device, note)}
	}
	r := Report{Note: fmt.Sprintf("Containers on the bridge %s reach the resources by name if %s is their nameserver (docker run --dns %s)",
		device, st.at.Addr(), st.at.Addr())}
	if st.lacks != nil {
		r.Note += fmt.Sprintf(". All names share that address, since there are no others (%v)", st.lacks)
	}
	for i, n := range st.names.Report().Names {
		if i < len(s.set.All) {
			if _, address := s.set.All[i].Prefix(); address {
				n.Trouble = "" // a bridge serves no addresses
			}
		}
		r.Names = append(r.Names, peer.NameReport{Name: n.Name, Trouble: n.Trouble})
	}
	return r
}

// watch follows the bridge, which may come and go.
func (s *Source) watch() {
	t := time.NewTicker(s.o.Retry)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		s.look()
		s.mu.Unlock()
	}
}

// look sets up or takes down the service according to the state of the bridge. The
// caller holds s.mu.
func (s *Source) look() {
	at, index, err := find(s.o.Device)
	if st := s.standing; st != nil && err == nil && st.at == at && st.index == index && !st.isLost() {
		if st.dns.Note() != "" && time.Since(st.asked) > portAgain {
			st.asked = time.Now()
			st.dns.Apply(false)
			st.dns.Apply(true)
		}
		return
	}
	if s.standing != nil {
		if s.standing.isLost() {
			s.lost++
		}
		s.takeDown()
	}
	if err == nil && s.ctx.Err() == nil {
		s.standing = s.setUp(at, index)
	}
	if same := s.err != nil && err != nil && s.err.Error() == err.Error(); same {
		return
	}
	s.err = err
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

func find(device string) (netip.Prefix, int, error) {
	at, err := hostnet.BridgeAddress(device)
	if err != nil {
		return at, 0, err
	}
	i, err := net.InterfaceByName(device)
	if err != nil {
		return at, 0, err
	}
	return at, i.Index, nil
}

// maxLost bounds how often a Host that was killed is started again.
const maxLost = 3

func (s *Source) setUp(at netip.Prefix, index int) *standing {
	st := &standing{at: at, index: index, asked: time.Now()}
	place := &names.Place{Device: s.o.Device, Shared: at.Addr()}
	var low dns.Low
	if s.lost >= maxLost {
		st.lacks = errors.New("the process that adds them was killed again and again")
	} else {
		ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
		host, prefix, err := s.o.Start(ctx, s.o.Device)
		cancel()
		if err != nil {
			st.lacks = err
		} else {
			st.host, place.Names, low = host, prefix, host
		}
	}
	st.names = names.New(names.Options{
		Log: s.o.Log, Gateway: s.gateway, UID: s.o.UID, Place: place, Changed: s.o.Changed,
		Check:    func(c net.Conn) (owner.Owner, error) { return st.check(c.RemoteAddr()) },
		CheckUDP: func(_, remote netip.AddrPort) (owner.Owner, error) { return st.admit(remote.Addr()) },
		StartHosts: func(context.Context) (names.Hosts, error) {
			if st.host == nil {
				return nil, st.lacks
			}
			return keptOpen{st.host}, nil
		},
	})
	st.dns = dns.New(dns.Options{
		Log: s.o.Log, Gateway: s.gateway, Names: st.names, Covers: s.o.Covers, Exact: s.o.Exact, ResolvPath: s.o.ResolvPath,
		Port: s.o.Port, Place: &dns.Place{Device: s.o.Device, Addr: at.Addr(), Low: low}, Changed: s.o.Changed,
		Check:    func(c net.Conn) (owner.Owner, error) { return st.check(c.RemoteAddr()) },
		CheckUDP: func(_, remote netip.AddrPort) (owner.Owner, error) { return st.admit(remote.Addr()) },
	})
	st.names.Apply(s.set)
	st.dns.Apply(true)
	return st
}

// keptOpen is a Host whose Close does nothing: takeDown closes it.
type keptOpen struct{ Host }

func (keptOpen) Close() error { return nil }

func (st *standing) isLost() bool {
	if st.host == nil {
		return false
	}
	select {
	case <-st.host.Done():
		return true
	default:
		return false
	}
}

// takeDown ends the service. The caller holds s.mu.
func (s *Source) takeDown() {
	st := s.standing
	if st == nil {
		return
	}
	s.standing = nil
	_, _ = st.dns.Close(), st.names.Close()
	if st.host != nil {
		if err := st.host.Close(); err != nil {
			s.o.Log.Warn().Err(err).Str("bridge", s.o.Device).Msg("addresses not taken back")
		}
	}
}

var errOutside = errors.New("not of the bridge's network")

func (st *standing) check(a net.Addr) (owner.Owner, error) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return owner.Owner{}, errOutside
	}
	return st.admit(t.AddrPort().Addr())
}

// admit accepts clients of the bridge's network, and refuses programs of this host.
// The kernel reports their connections to the host's addresses there as connections
// by the bridge.
func (st *standing) admit(a netip.Addr) (owner.Owner, error) {
	if a = a.Unmap(); !st.at.Masked().Contains(a) || st.here.has(a) {
		return owner.Owner{}, fmt.Errorf("check owner of %s: %w", a, errOutside)
	}
	return owner.Owner{UID: -1, User: a.String()}, nil
}

// addresses has this host's addresses, at most 100 ms old.
type addresses struct {
	mu  sync.Mutex
	at  time.Time
	all []netip.Addr
	err error
}

// has tells whether a is one of them. It is true if the addresses are not known.
func (l *addresses) has(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.at) > 100*time.Millisecond {
		l.at, l.all = now, nil
		var list []net.Addr
		list, l.err = net.InterfaceAddrs()
		for _, one := range list {
			if n, ok := one.(*net.IPNet); ok {
				own, _ := netip.AddrFromSlice(n.IP)
				l.all = append(l.all, own.Unmap())
			}
		}
	}
	return l.err != nil || slices.Contains(l.all, a)
}

// origin tells the address that a flow comes from. This host knows nothing else about
// the client.
func (s *Source) origin(_ string, _ tunnel.Target, who owner.Owner) tunnel.Origin {
	return tunnel.Origin{Source: "bridge", User: who.User + " on " + s.o.Device}
}
