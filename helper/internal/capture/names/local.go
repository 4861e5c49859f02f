package names

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// maxLocal bounds the ports of localhost that are served.
const maxLocal = 128

// local tells whether e is a port of localhost. Its listener is at 127.0.0.1 and ::1.
func (e endpoint) local() bool { return e.host == offer.Localhost }

// low tells whether e can need the rights of the privileged child.
func (e endpoint) low() bool { return e.port < 1024 }

func localAddress(a netip.Addr) bool { return a == localhost || a == netip.IPv6Loopback() }

// localEndpoints returns the ports of localhost that are to be served. The caller holds
// s.mu.
func (s *Source) localEndpoints() (all []endpoint) {
	if s.o.Place != nil {
		return nil
	}
	ports := portsOf(s.set.Local())
	for _, udp := range []bool{false, true} {
		for _, r := range ports.of(udp) {
			for port := int(r.First); port <= int(r.Last) && len(all) < maxLocal; port++ {
				all = append(all, endpoint{offer.Localhost, uint16(port), udp})
			}
		}
	}
	return all
}

// closers are the sockets of one listener.
type closers []io.Closer

// Close closes all of them.
func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

// listenLocal binds e at both addresses of localhost, or at none of them: a program of
// this machine that has one of them must get the connections of clients that try the
// other one first. A machine without IPv6 has one address. The caller holds s.mu.
func (s *Source) listenLocal(e endpoint) (*listener, error) {
	addrs := []netip.Addr{localhost, netip.IPv6Loopback()}
	if p := s.problems[e]; p != nil && p.at.Addr().Is6() {
		slices.Reverse(addrs) // the other one may be free, and must not be taken for a moment
	}
	var open closers
	for _, a := range addrs {
		l := &listener{at: netip.AddrPortFrom(a, e.port)}
		err := s.bind(l, e)
		switch {
		case err == nil:
			open = append(open, l)
		case a.Is6() && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
		default:
			_ = open.Close()
			return nil, err
		}
	}
	return &listener{Closer: open, at: netip.AddrPortFrom(localhost, e.port)}, nil
}

// localAt returns the address of localhost at which e could not be bound.
func localAt(e endpoint, err error) netip.AddrPort {
	six := netip.AddrPortFrom(netip.IPv6Loopback(), e.port)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil && op.Addr.String() == six.String() {
		return six
	}
	return netip.AddrPortFrom(localhost, e.port)
}

// freeLocal returns a port of localhost that is free, to offer it in place of e, or 0.
// The caller holds s.mu.
func (s *Source) freeLocal(e endpoint) uint16 {
	for port, n := mapped(int(e.port)), 0; n < 16; port, n = port+1, n+1 {
		other := endpoint{e.host, uint16(port), e.udp}
		if s.listeners[other] == nil && s.problems[other] == nil && isFree(other) {
			return other.port
		}
	}
	return 0
}

// isFree tells whether a program could listen at e, a port of localhost.
func isFree(e endpoint) bool {
	for _, a := range []netip.Addr{localhost, netip.IPv6Loopback()} {
		at := netip.AddrPortFrom(a, e.port).String()
		var c io.Closer
		var err error
		if e.udp {
			c, err = net.ListenPacket("udp", at)
		} else {
			c, err = net.Listen("tcp", at)
		}
		if err == nil {
			_ = c.Close()
		} else if errors.Is(err, syscall.EADDRINUSE) {
			return false
		}
	}
	return true
}

// adviceLocal says what becomes of a port of localhost that a program has.
func adviceLocal(p *problem) string {
	text := ", and served once that ends"
	if p.other != 0 {
		text += fmt.Sprintf("; %d is free: map that port to the service instead", p.other)
	}
	return text
}

// OnLocalhost tells whether a connection of this network to a port of localhost leads to
// a resource now.
func (s *Source) OnLocalhost(network string, port uint16) bool {
	return s.served.Load().local[endpoint{offer.Localhost, port, network == offer.UDP}]
}

// reportLocal reports on a resource to which localhost leads.
func (s *Source) reportLocal(p *offer.Resource, r *peer.NameReport) (troubles []string) {
	served := make(map[bool][]uint16) // the key is true for UDP
	over := 0
	resources := []*offer.Resource{p}
	for _, udp := range []bool{false, true} {
		for _, ports := range portsOf(resources).of(udp) {
			for port := int(ports.First); port <= int(ports.Last); port++ {
				e := endpoint{offer.Localhost, uint16(port), udp}
				switch p := s.problems[e]; {
				case s.listeners[e] != nil:
					served[udp] = append(served[udp], e.port)
				case p != nil:
					troubles = append(troubles, "port "+strconv.Itoa(port)+": "+s.explain(p))
				case s.portElsewhere(e):
					troubles = append(troubles, "port "+strconv.Itoa(port)+": "+elsewhereNote)
				default:
					over++
				}
			}
		}
	}
	addRanges(r, offer.Localhost, "", rangesOf(served[false]))
	addRanges(r, offer.Localhost, "/udp", rangesOf(served[true]))
	if over > 0 {
		troubles = append(troubles, fmt.Sprintf("%d ports are not served: localhost serves at most %d", over, maxLocal))
	}
	return troubles
}
