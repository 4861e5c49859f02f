package names

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Place is where names are served instead of loopback: on a bridge, for the clients
// that Check admits. Clients find names by a resolver that calls Address, and never
// by the hosts file.
type Place struct {
	Device string // listeners accept only connections that arrive by it
	// Names has an address for each name. If it is not valid, all names share the
	// address Shared; names that have a port in common cannot all be served then.
	Names  netip.Prefix
	Shared netip.Addr
}

// size returns how many addresses there are for names.
func (p *Place) size() int { return max(0, 1<<(32-p.Names.Bits())-2) }

// of returns the address of a name for a try, which h stands for.
func (p *Place) of(h uint64) netip.Addr {
	b := p.Names.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) + uint32(1+h%uint64(p.size()))
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// shares tells whether names have one address together.
func (s *Source) shares() bool { return s.o.Place != nil && !s.o.Place.Names.IsValid() }

// sharedError is why a name is not served at the address that all share.
type sharedError struct {
	port uint16
	with string
	at   netip.Addr
}

func (e *sharedError) Error() string {
	return fmt.Sprintf("port %d of %s, which all names share there without root's rights, is that of %s", e.port, e.at, e.with)
}

// apart closes listeners that are not needed any more. It leaves out of want every
// name that has a port in common with an earlier name: at the shared address the
// earlier name would answer.
func (s *Source) apart(want []endpoint) []endpoint {
	type port struct {
		number uint16
		udp    bool
	}
	by := make(map[port]string)
	clash := make(map[string]*sharedError)
	for _, e := range want {
		at := port{e.port, e.udp}
		if first, ok := by[at]; ok && first != e.host && clash[first] == nil {
			if clash[e.host] == nil {
				clash[e.host] = &sharedError{e.port, first, s.o.Place.Shared}
			}
			continue
		}
		by[at] = e.host
	}
	var left []endpoint
	keep := make(map[endpoint]bool, len(want))
	for _, e := range want {
		if err := clash[e.host]; err != nil {
			s.setProblem(e, err)
		} else {
			left, keep[e] = append(left, e), true
		}
	}
	// This comes first, since another name may get the port.
	for e, l := range s.listeners {
		if !keep[e] {
			_ = l.Close()
			delete(s.listeners, e)
		}
	}
	return left
}
