package resource

import (
	"net/netip"
	"slices"
	"strings"
)

// Difference is one field in which two resources differ, in the spelling of the settings.
// Lists are joined by ", ".
type Difference struct {
	Field, Was, Is string
}

// Differences lists what changed from was to is, in the order of the fields.
func Differences(was, is Resource) []Difference {
	var out []Difference
	add := func(field, was, is string) {
		if was != is {
			out = append(out, Difference{field, was, is})
		}
	}
	list := func(s []string) string { return strings.Join(s, ", ") }
	add("name", was.Name, is.Name)
	add("host", was.Host.String(), is.Host.String())
	add("ports", list(was.PortStrings()), list(is.PortStrings()))
	add("protocols", list(was.ProtocolStrings()), list(is.ProtocolStrings()))
	add("addresses", list(was.AddressStrings()), list(is.AddressStrings()))
	add("as", was.As, is.As)
	add("exit", was.Exit, is.Exit)
	add("resolve", was.Resolve, is.Resolve)
	add("programs", list(was.Programs), list(is.Programs))
	add("description", was.Description, is.Description)
	return out
}

// Equal reports whether r and o are equal in every field.
func (r Resource) Equal(o Resource) bool { return len(Differences(r, o)) == 0 }

// Within reports whether r is o or o with less in it: the same name, host, as, exit,
// resolve and description, and no port, protocol, address or program that o
// lacks. A single address that o does not list as such is not less, although a range of
// o holds it: the judge lets a name lead to an address of this machine only if the
// resource lists exactly that address.
func (r Resource) Within(o Resource) bool {
	if r.Name != o.Name || r.Host != o.Host || r.As != o.As || r.Exit != o.Exit || r.Resolve != o.Resolve || r.Description != o.Description {
		return false
	}
	for _, n := range r.Protocols {
		if !o.allows(n) {
			return false
		}
	}
	for _, p := range r.Ports {
		if !covered(p, o.Ports) {
			return false
		}
	}
	if len(o.Programs) > 0 && (len(r.Programs) == 0 || slices.ContainsFunc(r.Programs, func(s string) bool { return !o.Admits(s) })) {
		return false
	}
	if slices.ContainsFunc(r.Addresses, func(p netip.Prefix) bool { return p.IsSingleIP() && !slices.Contains(o.Addresses, p) }) {
		return false
	}
	if len(o.Addresses) == 0 {
		return true
	}
	for _, a := range r.Addresses {
		if !slices.ContainsFunc(o.Addresses, func(p netip.Prefix) bool { return p.Bits() <= a.Bits() && p.Contains(a.Addr()) }) {
			return false
		}
	}
	return len(r.Addresses) > 0
}

// covered reports whether p lies in by, which is sorted and may have adjacent ranges.
func covered(p Ports, by []Ports) bool {
	if p.Listen != 0 {
		return slices.Contains(by, p)
	}
	next := uint32(p.First)
	for _, q := range by {
		if q.Listen == 0 && uint32(q.First) <= next && next <= uint32(q.Last) {
			next = uint32(q.Last) + 1
		}
	}
	return next > uint32(p.Last)
}
