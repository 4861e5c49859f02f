package capture

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// matcher tells which targets the published resources cover. It only sorts
// connections into those for the gateway and those that go where they went
// before: the gateway judges.
type matcher struct {
	names    map[string][]peer.Published // by exact name
	wildcard map[string][]peer.Published // by the domain below "*."
	prefixes []prefixed
	limited  bool // some are for some programs alone
}

type prefixed struct {
	prefix netip.Prefix
	peer.Published
}

func newMatcher(published []peer.Published) *matcher {
	m := &matcher{names: make(map[string][]peer.Published), wildcard: make(map[string][]peer.Published)}
	for _, p := range published {
		m.limited = m.limited || p.ByProgram
		if domain, ok := strings.CutPrefix(p.Host, "*."); ok {
			m.wildcard[domain] = append(m.wildcard[domain], p)
		} else if addr, err := netip.ParseAddr(p.Host); err == nil {
			m.prefixes = append(m.prefixes, prefixed{netip.PrefixFrom(addr, addr.BitLen()), p})
		} else if prefix, err := netip.ParsePrefix(p.Host); err == nil {
			m.prefixes = append(m.prefixes, prefixed{prefix, p})
		} else {
			m.names[p.Host] = append(m.names[p.Host], p)
		}
	}
	return m
}

// covers reports whether a published resource has this target. Port 0 stands
// for any port, as for a look-up.
func (m *matcher) covers(network, host string, port uint16) bool {
	return m.find(network, host, port, func(peer.Published) bool { return true })
}

// find reports whether a published resource that want accepts has this target.
func (m *matcher) find(network, host string, port uint16, want func(peer.Published) bool) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return m.findAddr(network, addr.Unmap(), port, want)
	}
	covered := func(p peer.Published) bool { return offers(p, network, port) && want(p) }
	if slices.ContainsFunc(m.names[host], covered) {
		return true
	}
	for rest := host; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return false
		}
		if slices.ContainsFunc(m.wildcard[parent], covered) {
			return true
		}
		rest = parent
	}
}

// coversAddr is covers for an address, unmapped.
func (m *matcher) coversAddr(network string, addr netip.Addr, port uint16) bool {
	return m.findAddr(network, addr, port, func(peer.Published) bool { return true })
}

func (m *matcher) findAddr(network string, addr netip.Addr, port uint16, want func(peer.Published) bool) bool {
	return slices.ContainsFunc(m.prefixes, func(p prefixed) bool {
		return p.prefix.Contains(addr) && offers(p.Published, network, port) && want(p.Published)
	})
}

// byProgram tells whether the gateway may let a target through to some programs
// alone.
func (m *matcher) byProgram(network, host string, port uint16) bool {
	return m.limited && m.find(network, host, port, func(p peer.Published) bool { return p.ByProgram })
}

// hasNames tells whether a published resource is one of names.
func (m *matcher) hasNames() bool { return len(m.names)+len(m.wildcard) > 0 }

func offers(p peer.Published, network string, port uint16) bool {
	if network == "icmp" {
		return slices.Contains(p.Protocols, network)
	}
	if port == 0 {
		return true
	}
	return slices.Contains(p.Protocols, network) &&
		slices.ContainsFunc(p.Ports, func(r peer.PublishedPort) bool { return r.First <= port && port <= r.Last })
}
