// Package judge decides which addresses the gateway may dial for an approved resource.
// It decides by its arguments alone, and does no I/O.
package judge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// MaxAddresses bounds how many addresses of one name are judged and dialled.
const MaxAddresses = 32

// Surroundings describes this machine, on which the decision depends.
type Surroundings struct {
	Own      []netip.Prefix // of its interfaces: address and prefix length, not masked
	OwnPorts []uint16       // on which this helper itself listens
}

// Verdict tells which addresses of a target the gateway may dial.
type Verdict struct {
	Allowed []netip.Addr // in the order of the look-up
	Refused []string     // a sentence for each refused address
}

// Reason returns why no address is allowed.
func (v Verdict) Reason() string {
	if len(v.Refused) > 3 {
		return strings.Join(v.Refused[:3], "; ") + fmt.Sprintf("; and %d more", len(v.Refused)-3)
	}
	return strings.Join(v.Refused, "; ")
}

// Addresses decides which of the addresses a match may be dialled at. It keeps their
// order and drops duplicates.
func Addresses(m resource.Match, addrs []netip.Addr, s Surroundings) Verdict {
	var v Verdict
	for _, a := range addrs[:min(len(addrs), MaxAddresses)] {
		a = a.Unmap()
		if slices.Contains(v.Allowed, a) {
			continue
		}
		if why := Refusal(m, a, s); why != "" {
			v.Refused = append(v.Refused, why)
			continue
		}
		v.Allowed = append(v.Allowed, a)
	}
	return v
}

// Refusal returns why the gateway must not dial a for a match, or "".
func Refusal(m resource.Match, a netip.Addr, s Surroundings) string {
	host := m.Resource.Host
	switch {
	case !a.IsValid():
		return "no address"
	case a.Zone() != "":
		return fmt.Sprintf("%s has a zone, which only this machine knows", a.WithZone(""))
	case m.Port != 0 && slices.Contains(s.OwnPorts, m.Port) && nethost.IsLocal(a, s.Own):
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
	class := nethost.SpecialClass(a, s.Own)
	switch {
	case class == "":
		return ""
	case m.Name == "":
		return fmt.Sprintf("%s is %s", a, class)
	case slices.Contains(m.Resource.Addresses, netip.PrefixFrom(a, a.BitLen())):
		return "" // the user approved that very address for this name
	case !nethost.IsMetadata(a) && (a.IsLinkLocalUnicast() || nethost.IsLocal(a, s.Own)):
		return fmt.Sprintf("%s resolves to %s, %s; if that is meant, list %q in the resource's \"addresses\"", m.Name, a, class, a)
	}
	return fmt.Sprintf("%s resolves to %s, %s", m.Name, a, class)
}

// restrictionHolds reports whether a name may resolve to a. For an IPv6 address that
// embeds an IPv4 one, either address may be listed.
func restrictionHolds(list []netip.Prefix, a netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	contains := func(a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return contains(a) || slices.ContainsFunc(nethost.Embedded(a), contains)
}
