// Package bridge serves the names of resources to containers of this host, or
// whatever else is behind one of its bridges: a stub resolver at the host's own
// address there, which they have to be given as their nameserver, and listeners
// at addresses that the host answers for. Whoever is on the bridge is served;
// the listeners take nothing that comes by another way.
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

// Host adds addresses, for as long as it lives, and opens low ports on the
// bridge; a hostnet.Behind is one.
type Host interface {
	names.Hosts
}

// Options of a Source. All but Port, Retry and Changed are required.
type Options struct {
	Log    zerolog.Logger
	Tunnel flow.Opener
	UID    int    // whose addresses these are
	Device string // the bridge
	// Covers tells whether a name, or an address in its place, is a resource's.
	Covers func(host string) bool
	// Exact tells whether a name is a resource of its own.
	Exact func(name string) bool
	// Start has this host answer for addresses of names on the bridge. If it
	// fails, names share the host's own address there.
	Start      func(ctx context.Context, device string) (Host, netip.Prefix, error)
	ResolvPath string
	Port       uint16 // of the stub resolver; 0 means 53
	// Retry is how often it is looked whether the bridge is as it was; 0 means 2 s.
	Retry time.Duration
	// Changed is called after Report has changed, if not nil. It must not block.
	Changed func()
}

// Report is what became of the bridge.
type Report struct {
	Note  string            // a sentence for the user
	Names []peer.NameReport // in the order of publication; only Trouble counts. Empty while nothing is served
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

// standing is what is there while the bridge is served.
type standing struct {
	at    netip.Prefix // this host on the bridge
	index int          // of the bridge, which may be made anew
	host  Host         // nil without privilege
	lacks error        // why host is nil
	names *names.Source
	dns   *dns.Source
	here  addresses
	asked time.Time // last, for the port of the stub resolver
}

// portAgain is how often a port of the stub resolver that is taken is tried.
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

// Apply makes set the whole of what is served. It returns when that is so.
func (s *Source) Apply(set *offer.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.set = set
	if s.standing != nil {
		s.standing.names.Apply(set)
		s.standing.dns.Apply(true) // forgets what it knew
	}
	s.look()
	if !s.watching {
		s.watching = true
		s.wg.Go(s.watch)
	}
}

// Close takes everything back, and waits for it.
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
	r := Report{Note: fmt.Sprintf("Whoever is on the bridge %s reaches the resources by name, with %s as nameserver (docker run --dns %s)",
		device, st.at.Addr(), st.at.Addr())}
	if st.lacks != nil {
		r.Note += fmt.Sprintf(". Names share that address, since there are no others (%v)", st.lacks)
	}
	for i, n := range st.names.Report().Names {
		if i < len(s.set.All) {
			if _, address := s.set.All[i].Prefix(); address {
				n.Trouble = "" // nothing that a bridge would serve
			}
		}
		r.Names = append(r.Names, peer.NameReport{Name: n.Name, Trouble: n.Trouble})
	}
	return r
}

// watch follows the bridge, which comes and goes with what it is for.
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

// look sets up or takes down what is served, as the bridge is now. The caller
// holds s.mu.
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

// maxLost bounds how often a host of addresses that is killed is started again.
const maxLost = 3

func (s *Source) setUp(at netip.Prefix, index int) *standing {
	st := &standing{at: at, index: index, asked: time.Now()}
	place := &names.Place{Device: s.o.Device, Shared: at.Addr()}
	var low dns.Low
	if s.lost >= maxLost {
		st.lacks = errors.New("what added them was killed again and again")
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

// keptOpen is a Host that is closed by the one who started it.
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

// takeDown ends what stands. The caller holds s.mu.
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

// admit lets in who is in the bridge's network, and not on this host: what its
// programs send to its own addresses there counts as having come by the bridge.
func (st *standing) admit(a netip.Addr) (owner.Owner, error) {
	if a = a.Unmap(); !st.at.Masked().Contains(a) || st.here.has(a) {
		return owner.Owner{}, fmt.Errorf("check owner of %s: %w", a, errOutside)
	}
	return owner.Owner{UID: -1, User: a.String()}, nil
}

// addresses are those of this host, as they were a moment ago.
type addresses struct {
	mu  sync.Mutex
	at  time.Time
	all []netip.Addr
	err error
}

// has tells whether a is one of them, or that cannot be told.
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

// origin tells where a flow is from: this host knows no more of it.
func (s *Source) origin(_ string, _ tunnel.Target, who owner.Owner) tunnel.Origin {
	return tunnel.Origin{Source: "bridge", User: who.User + " on " + s.o.Device}
}
