// Package offer is the set of resources that the gateway has published, parsed
// once when it arrives. It tells which targets belong to a resource. It decides
// nothing: the gateway judges every flow.
package offer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// Limits of a publication. The settings of an honest gateway are within them.
const (
	maxResources = 1000
	maxRanges    = 1024 // of ports in one resource
	maxName      = 512  // bytes of a resource's name, which the report repeats
)

// The networks of a publication.
const (
	TCP  = "tcp"
	UDP  = "udp"
	ICMP = "icmp" // echo requests
)

// Range is an inclusive range of ports; First is at least 1.
type Range = peer.PublishedPort

// Resource is one published resource.
type Resource struct {
	Name      string          // as in the settings
	Text      string          // the host as the gateway wrote it
	Host      nethost.Pattern // what Text stands for, if Known
	Known     bool            // false: this version cannot read Text
	Ports     []Range         // sorted and disjoint
	TCP, UDP  bool
	Ping      bool // echo requests
	ByProgram bool // the gateway admits some programs only
	Local     bool // this machine's own localhost leads to it; it has no name or address besides
}

// Exact returns the host name of a resource that is one name.
func (r *Resource) Exact() (string, bool) {
	return r.Host.Name, r.Known && !r.Local && r.Host.Kind == nethost.Name
}

// Domain returns the domain that a wildcard is for, without "*.".
func (r *Resource) Domain() (string, bool) {
	return r.Host.Name, r.Known && r.Host.Kind == nethost.Wildcard
}

// Prefix returns the network of a resource that is an address or a network.
func (r *Resource) Prefix() (netip.Prefix, bool) {
	return r.Host.Prefix, r.Known && !r.Host.ByName()
}

// Has tells whether network and port belong to r. ICMP has no port. Port 0 stands
// for any port, as for a look-up.
func (r *Resource) Has(network string, port uint16) bool {
	switch {
	case network == ICMP:
		return r.Ping
	case port == 0:
		return true
	}
	return (network == TCP && r.TCP || network == UDP && r.UDP) && Contains(r.Ports, port)
}

// Set is one publication. It does not change. The zero value is empty.
type Set struct {
	All []*Resource // in the order of publication

	exact     map[string][]*Resource
	local     []*Resource
	index     nethost.Index[*Resource]
	byName    bool // some resource is a name or a wildcard
	byProgram bool // some resource is
}

// Parse reads a publication. An honest gateway stays within the limits of the
// settings; for one that does not, Parse returns an error.
func Parse(published []peer.Published) (*Set, error) {
	if len(published) > maxResources {
		return nil, fmt.Errorf("the gateway published %d resources, at most %d are allowed", len(published), maxResources)
	}
	s := &Set{All: make([]*Resource, 0, len(published)), exact: make(map[string][]*Resource)}
	for _, p := range published {
		if len(p.Name) > maxName || len(p.Ports) > maxRanges {
			return nil, fmt.Errorf("the gateway published a resource with a name of %d bytes and %d port ranges; at most %d and %d are allowed",
				len(p.Name), len(p.Ports), maxName, maxRanges)
		}
		r := &Resource{Name: p.Name, Text: p.Host, Ports: Merge(p.Ports), ByProgram: p.ByProgram}
		r.TCP, r.UDP, r.Ping = slices.Contains(p.Protocols, TCP), slices.Contains(p.Protocols, UDP), slices.Contains(p.Protocols, ICMP)
		host, err := nethost.ParsePattern(p.Host)
		r.Host, r.Known = host, err == nil
		s.add(r)
	}
	return s, nil
}

func (s *Set) add(r *Resource) {
	s.All = append(s.All, r)
	if !r.Known {
		return
	}
	s.byProgram = s.byProgram || r.ByProgram
	if r.Host.IsLocalhost() {
		r.Local = true
		s.local = append(s.local, r)
		return
	}
	s.byName = s.byName || r.Host.ByName()
	s.index.Add(r.Host, r)
	if name, ok := r.Exact(); ok {
		s.exact[name] = append(s.exact[name], r)
	}
}

// HasNames tells whether a resource is a name or a wildcard.
func (s *Set) HasNames() bool { return s.byName }

// Names returns the exact names, each once, in the order of publication.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.exact))
	for _, r := range s.All {
		if name, ok := r.Exact(); ok && s.exact[name][0] == r {
			names = append(names, name)
		}
	}
	return names
}

// Local returns the resources to which this machine's localhost leads.
func (s *Set) Local() []*Resource { return s.local }

// Exact returns the resources that are this name.
func (s *Set) Exact(name string) []*Resource { return s.exact[name] }

// Wildcards returns the resources whose wildcards cover name, which is in its
// normal form.
func (s *Set) Wildcards(name string) (all []*Resource) {
	for r := range s.index.Covering(nethost.Host{Name: name}) {
		if r.Host.Kind == nethost.Wildcard {
			all = append(all, r)
		}
	}
	return all
}

// Covers tells whether a resource has this target, whose host is spelled as a
// program spelled it. Port 0 stands for any port, as for a look-up. It does not know the
// resources of Local.
func (s *Set) Covers(network, host string, port uint16) bool {
	return s.find(network, hostOf(host), port, func(*Resource) bool { return true })
}

// CoversAddr is Covers for an address, unmapped.
func (s *Set) CoversAddr(network string, addr netip.Addr, port uint16) bool {
	return s.find(network, nethost.Host{Addr: addr}, port, func(*Resource) bool { return true })
}

// ByProgram tells whether the gateway may admit some programs only to a target.
func (s *Set) ByProgram(network, host string, port uint16) bool {
	if !s.byProgram {
		return false
	}
	h := hostOf(host)
	if h.Name == nethost.Localhost {
		return slices.ContainsFunc(s.local, func(r *Resource) bool { return r.ByProgram && r.Has(network, port) })
	}
	return s.find(network, h, port, func(r *Resource) bool { return r.ByProgram })
}

// Localhost is the name that a program asks for to reach the resources of Local.
const Localhost = nethost.Localhost

// IsLocalhost tells whether a host, spelled as a program spelled it, is Localhost.
func IsLocalhost(host string) bool { return hostOf(host).Name == Localhost }

// hostOf is what host stands for. A string that no settings entry can have is
// taken for a name, since a wildcard may cover it.
func hostOf(host string) nethost.Host {
	if h, err := nethost.Parse(host); err == nil {
		return h
	}
	return nethost.Host{Name: strings.TrimSuffix(strings.ToLower(host), ".")}
}

func (s *Set) find(network string, host nethost.Host, port uint16, want func(*Resource) bool) bool {
	for r := range s.index.Covering(host) {
		if r.Has(network, port) && want(r) {
			return true
		}
	}
	return false
}

// Merge returns the ports of ranges as sorted ranges that do not touch.
func Merge(ranges []Range) []Range {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := sorted[:0]
	for _, r := range sorted {
		r.First = max(r.First, 1)
		if r.Last < r.First {
			continue
		}
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Count returns how many ports disjoint ranges have.
func Count(ranges []Range) (n int) {
	for _, r := range ranges {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

// Contains tells whether port is in ranges, which are sorted and disjoint.
func Contains(ranges []Range, port uint16) bool {
	_, found := slices.BinarySearchFunc(ranges, port, func(r Range, port uint16) int {
		switch {
		case r.Last < port:
			return -1
		case r.First > port:
			return 1
		}
		return 0
	})
	return found
}
