package resource

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
)

// Set answers which resource a target belongs to. It does not change once
// built; the zero value matches nothing.
type Set struct {
	list  []Resource
	index nethost.Index[int] // of indices in list, by how the remote spells the host
}

// Match is the resource and the real host and port of a target.
type Match struct {
	Resource Resource
	Name     string     // the real host, if the resource has it by name
	Addr     netip.Addr // the real host otherwise
	Port     uint16     // the real port
}

// ByExit reports whether the exit, not the gateway, resolves the name.
func (m Match) ByExit() bool { return m.Name != "" && m.Resource.Resolve == ByExit }

// NewSet returns a set of resources, which Parse has returned. If several resources match
// equally well, the first one wins.
func NewSet(list []Resource) *Set {
	s := &Set{list: list}
	for i, r := range list {
		switch {
		case r.RemoteName() != "":
			s.index.Add(nethost.Pattern{Kind: nethost.Name, Name: r.RemoteName()}, i)
		case !r.Host.IsLocalhost():
			s.index.Add(r.Host, i)
		}
	}
	return s
}

// Resources returns the list that the set was built from. The caller must not change it.
func (s *Set) Resources() []Resource { return s.list }

// Match finds the most specific resource that allows a target: an exact name
// before a wildcard of more labels before one of fewer, an address before a
// longer CIDR before a shorter one. ICMP has no port. If there is none, the error is a
// sentence for the user that says why. It is fit for a log.
func (s *Set) Match(network Network, host string, port uint16) (Match, error) {
	h, err := nethost.Parse(host)
	if err != nil {
		return Match{}, err
	}
	named := ""
	for i := range s.index.Covering(h) {
		r := s.list[i]
		named = cmp.Or(named, r.Name)
		if !r.allows(network) {
			continue
		}
		if network == ICMP {
			return r.match(h, 0), nil
		}
		for _, p := range r.Ports {
			if target, ok := p.target(port); ok {
				return r.match(h, target), nil
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
		err = fmt.Errorf("no approved resource covers %s", h)
	}
	return Match{}, err
}

// Named returns a match without a port for each resource that covers a host at any port,
// most specific first. No look-up finds the resources to which the remote's localhost leads.
func (s *Set) Named(host string) ([]Match, error) {
	h, err := nethost.Parse(host)
	if err != nil {
		return nil, err
	}
	var out []Match
	for i := range s.index.Covering(h) {
		if s.list[i].OnLocalhost() {
			continue // every machine finds localhost by itself
		}
		out = append(out, s.list[i].match(h, 0))
	}
	return out, nil
}

// match returns the match of a host that r covers.
func (r Resource) match(h nethost.Host, port uint16) Match {
	m := Match{Resource: r, Name: h.Name, Addr: h.Addr, Port: port}
	if r.As == "" {
		return m
	}
	if r.Host.Kind == nethost.Name {
		m.Name, m.Addr = r.Host.Name, netip.Addr{}
	} else {
		m.Name, m.Addr = "", r.Host.Prefix.Addr()
	}
	return m
}
