package resource

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Set answers which resource a target belongs to. It does not change once
// built; the zero value matches nothing.
type Set struct {
	list     []Resource
	names    map[string][]int       // exact names of the remote -> indices in list
	domains  map[string][]int       // of the wildcards
	prefixes map[netip.Prefix][]int // of addresses and CIDRs
	lengths  [2][]int               // of the prefixes for IPv4 and IPv6, longest first
}

// Match is what a target stands for.
type Match struct {
	Resource Resource
	Name     string     // the real host, if the resource has it by name
	Addr     netip.Addr // the real host otherwise
	Port     uint16     // the real port
}

// ByExit says whether the exit, not the gateway, resolves the name.
func (m Match) ByExit() bool { return m.Name != "" && m.Resource.Resolve == ByExit }

// NewSet builds a set of resources as Parse returns them. Among resources that
// match equally well the first wins.
func NewSet(list []Resource) *Set {
	s := &Set{list: list, names: map[string][]int{}, domains: map[string][]int{}, prefixes: map[netip.Prefix][]int{}}
	for i, r := range list {
		switch name := r.RemoteName(); {
		case name != "":
			s.names[name] = append(s.names[name], i)
		case r.Host.Kind == Wildcard:
			s.domains[r.Host.Name] = append(s.domains[r.Host.Name], i)
		case r.Host.Prefix.IsValid():
			s.prefixes[r.Host.Prefix] = append(s.prefixes[r.Host.Prefix], i)
			family := familyOf(r.Host.Prefix.Addr())
			s.lengths[family] = append(s.lengths[family], r.Host.Prefix.Bits())
		}
	}
	for i, l := range s.lengths {
		slices.SortFunc(l, func(a, b int) int { return cmp.Compare(b, a) })
		s.lengths[i] = slices.Compact(l)
	}
	return s
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Resources returns what the set was built of. The caller must not change it.
func (s *Set) Resources() []Resource { return s.list }

// Match finds the most specific resource that allows a target: an exact name
// before a wildcard of more labels before one of fewer, an address before a
// longer CIDR before a shorter one. ICMP has no port. The error says, in words for the user and
// fit for a log, why there is none.
func (s *Set) Match(network Network, host string, port uint16) (Match, error) {
	name, addr, err := NormalizeHost(host)
	if err != nil {
		return Match{}, err
	}
	named := ""
	for i := range s.candidates(name, addr) {
		r := s.list[i]
		named = cmp.Or(named, r.Name)
		if !r.allows(network) {
			continue
		}
		if network == ICMP {
			return r.match(name, addr, 0), nil
		}
		for _, p := range r.Ports {
			if target, ok := p.target(port); ok {
				return r.match(name, addr, target), nil
			}
		}
	}
	switch {
	case network == ICMP && named != "":
		err = fmt.Errorf("resource %q does not list icmp", named)
	case network != ICMP && port == 0:
		err = fmt.Errorf("port 0 cannot be reached")
	case named != "":
		err = fmt.Errorf("resource %q does not list %s port %d", named, network, port)
	default:
		err = fmt.Errorf("no approved resource covers %s", cmp.Or(name, addr.String()))
	}
	return Match{}, err
}

// Named returns a match, without port, for each resource that covers a host
// whatever the port, most specific first.
func (s *Set) Named(host string) ([]Match, error) {
	name, addr, err := NormalizeHost(host)
	if err != nil {
		return nil, err
	}
	var out []Match
	for i := range s.candidates(name, addr) {
		out = append(out, s.list[i].match(name, addr, 0))
	}
	return out, nil
}

// candidates yields the indices of the resources that cover a host, most
// specific first.
func (s *Set) candidates(name string, addr netip.Addr) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		each := func(indices []int) bool {
			for _, i := range indices {
				if !yield(i) {
					return false
				}
			}
			return true
		}
		if addr.IsValid() {
			for _, bits := range s.lengths[familyOf(addr)] {
				if p, err := addr.Prefix(bits); err == nil && !each(s.prefixes[p]) {
					return
				}
			}
			return
		}
		if !each(s.names[name]) {
			return
		}
		for _, domain, ok := strings.Cut(name, "."); ok; _, domain, ok = strings.Cut(domain, ".") {
			if !each(s.domains[domain]) {
				return
			}
		}
	}
}

// match resolves what the remote asked for to the real host.
func (r Resource) match(name string, addr netip.Addr, port uint16) Match {
	m := Match{Resource: r, Name: name, Addr: addr, Port: port}
	if r.As == "" {
		return m
	}
	if r.Host.Kind == Name {
		m.Name, m.Addr = r.Host.Name, netip.Addr{}
	} else {
		m.Name, m.Addr = "", r.Host.Prefix.Addr()
	}
	return m
}
