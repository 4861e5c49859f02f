package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// maxAddresses bounds how many addresses of one name are judged and dialled.
const maxAddresses = 32

// surroundings is what the policy must know of the machine it runs on.
type surroundings struct {
	own      []netip.Prefix // of its interfaces: address and prefix length, not masked
	ownPorts []uint16       // on which this helper itself listens
}

// verdict is what became of the addresses that a target may stand for.
type verdict struct {
	allowed []netip.Addr
	refused []string // a sentence for each refused address
}

// reason says why nothing is left to dial.
func (v verdict) reason() string {
	if len(v.refused) > 3 {
		return strings.Join(v.refused[:3], "; ") + fmt.Sprintf("; and %d more", len(v.refused)-3)
	}
	return strings.Join(v.refused, "; ")
}

// judge decides which of the addresses a match may be dialled at. It decides
// by its arguments alone. The order is kept, duplicates go.
func judge(m resource.Match, addrs []netip.Addr, s surroundings) verdict {
	var v verdict
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		a = a.Unmap()
		if slices.Contains(v.allowed, a) {
			continue
		}
		if why := refusal(m, a, s); why != "" {
			v.refused = append(v.refused, why)
			continue
		}
		v.allowed = append(v.allowed, a)
	}
	return v
}

// refusal says why a match may not be dialled at a, or "".
func refusal(m resource.Match, a netip.Addr, s surroundings) string {
	host := m.Resource.Host
	switch {
	case !a.IsValid():
		return "no address"
	case a.Zone() != "":
		return fmt.Sprintf("%s has a zone, which only this machine knows", a.WithZone(""))
	case m.Port != 0 && slices.Contains(s.ownPorts, m.Port) && nethost.IsLocal(a, s.own):
		return fmt.Sprintf("port %d of this machine belongs to Causeway itself", m.Port)
	case host.IsLocalhost():
		if a.IsLoopback() {
			return ""
		}
		return fmt.Sprintf("localhost is not %s", a)
	case m.Name != "" && !restrictionHolds(m.Resource.Addresses, a):
		return fmt.Sprintf("%s resolves to %s, which is not among the resource's addresses", m.Name, a)
	case host.Kind == nethost.Address && host.Prefix.Addr() == a:
		return "" // that very address
	}
	class := nethost.SpecialClass(a, s.own)
	if class == "" {
		return ""
	}
	if m.Name != "" {
		return fmt.Sprintf("%s resolves to %s, %s", m.Name, a, class)
	}
	return fmt.Sprintf("%s is %s", a, class)
}

// restrictionHolds says whether a name may resolve to a. Of an IPv6 address
// that holds an IPv4 one either may be listed.
func restrictionHolds(list []netip.Prefix, a netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	contains := func(a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return contains(a) || slices.ContainsFunc(nethost.Embedded(a), contains)
}
