package nethost

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Index finds the values whose patterns cover a host. The zero value is empty and
// ready for use. Add and Covering must not run at the same time.
type Index[T any] struct {
	names    map[string][]T
	domains  map[string][]T // of the wildcards
	prefixes map[netip.Prefix][]T
	lengths  [2][]int // of the prefixes for IPv4 and IPv6, longest first
}

// Add puts a value under a pattern. Values of equal patterns keep their order.
func (x *Index[T]) Add(p Pattern, value T) {
	if x.names == nil {
		x.names, x.domains, x.prefixes = map[string][]T{}, map[string][]T{}, map[netip.Prefix][]T{}
	}
	switch p.Kind {
	case Name:
		x.names[p.Name] = append(x.names[p.Name], value)
	case Wildcard:
		x.domains[p.Name] = append(x.domains[p.Name], value)
	default:
		x.prefixes[p.Prefix] = append(x.prefixes[p.Prefix], value)
		lengths := &x.lengths[familyOf(p.Prefix.Addr())]
		at, found := slices.BinarySearchFunc(*lengths, p.Prefix.Bits(), func(a, b int) int { return cmp.Compare(b, a) })
		if !found {
			*lengths = slices.Insert(*lengths, at, p.Prefix.Bits())
		}
	}
}

// Covering returns the values whose patterns cover h, most specific first: an exact
// name before a wildcard of more labels before one of fewer, an address before a
// longer CIDR before a shorter one.
func (x *Index[T]) Covering(h Host) iter.Seq[T] {
	return func(yield func(T) bool) {
		each := func(values []T) bool {
			for _, v := range values {
				if !yield(v) {
					return false
				}
			}
			return true
		}
		if h.Addr.IsValid() {
			for _, bits := range x.lengths[familyOf(h.Addr)] {
				if p, err := h.Addr.Prefix(bits); err == nil && !each(x.prefixes[p]) {
					return
				}
			}
			return
		}
		if !each(x.names[h.Name]) {
			return
		}
		for _, domain, ok := strings.Cut(h.Name, "."); ok; _, domain, ok = strings.Cut(domain, ".") {
			if !each(x.domains[domain]) {
				return
			}
		}
	}
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
