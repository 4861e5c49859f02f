package nethost

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	broadcast   = netip.MustParseAddr("255.255.255.255")

	// IPv6 prefixes whose addresses embed an IPv4 address.
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // SIIT
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// SpecialClass returns the reason why names and CIDRs do not reach an address, such
// as "a link-local address", or "" if a is an ordinary address. own are the addresses
// of this machine's interfaces with their prefix lengths, not masked; nil skips them.
func SpecialClass(a netip.Addr, own []netip.Prefix) string {
	if class := plainClass(a, own); class != "" {
		return class
	}
	for _, inner := range Embedded(a) {
		if class := plainClass(inner, own); class != "" {
			return fmt.Sprintf("a form of %s, %s", inner, class)
		}
	}
	return ""
}

// plainClass is SpecialClass without a look inside the address.
func plainClass(a netip.Addr, own []netip.Prefix) string {
	switch {
	case IsMetadata(a):
		return "a cloud's metadata service"
	case a == broadcast:
		return "the broadcast address"
	case a.IsLoopback():
		return "a loopback address of this machine"
	case a.IsUnspecified() || thisNetwork.Contains(a):
		return "an address that stands for this machine"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast():
		return "a multicast address"
	}
	for _, p := range own {
		mine := p.Addr().Unmap().WithZone("")
		switch {
		case mine == a:
			return "an address of this machine"
		case mine.Is4() && a == lastOf(mine, p.Bits()):
			return "the broadcast address of a network of this machine"
		}
	}
	return ""
}

// metadata are the addresses of clouds' metadata services.
var metadata = [...]netip.Addr{
	netip.AddrFrom4([4]byte{169, 254, 169, 254}), netip.AddrFrom4([4]byte{168, 63, 129, 16}),
	netip.AddrFrom4([4]byte{100, 100, 100, 200}), netip.MustParseAddr("fd00:ec2::254"),
}

// IsMetadata reports whether a is the address of a cloud's metadata service.
func IsMetadata(a netip.Addr) bool { return slices.Contains(metadata[:], a) }

// IsLocal reports whether dialling a reaches this machine. own is as in
// SpecialClass.
func IsLocal(a netip.Addr, own []netip.Prefix) bool {
	local := func(a netip.Addr) bool {
		return a.IsLoopback() || a.IsUnspecified() || thisNetwork.Contains(a) ||
			slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().Unmap().WithZone("") == a })
	}
	return local(a) || slices.ContainsFunc(Embedded(a), local)
}

// lastOf returns the broadcast address of an interface's IPv4 network, or the
// zero Addr if the network is too small to have one.
func lastOf(a netip.Addr, bits int) netip.Addr {
	if bits < 0 || bits > 30 {
		return netip.Addr{}
	}
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:]) | ^uint32(0)>>bits
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// Embedded returns every IPv4 address that some network reads out of an IPv6
// address.
func Embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := at(12, 13, 14, 15)
	switch {
	case a.Is4In6():
		return []netip.Addr{a.Unmap()}
	case a.IsUnspecified() || a.IsLoopback():
		return nil
	case compatible.Contains(a), translated.Contains(a), nat64.Contains(a):
		return []netip.Addr{last}
	case nat64Local.Contains(a):
		return nat64Readings(b, last)
	case sixToFour.Contains(a):
		return []netip.Addr{at(2, 3, 4, 5)}
	case teredo.Contains(a):
		return []netip.Addr{at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		return []netip.Addr{last}
	}
	return nil
}

// nat64Readings returns the IPv4 addresses that translators with prefixes of 48, 56, 64
// and 96 bits read out of one address (RFC 6052, section 2.2). The prefix in use is not
// known here. A reading in 0.0.0.0/8 counts only if there is no other: it comes from the
// padding of another prefix length.
func nat64Readings(b [16]byte, last netip.Addr) []netip.Addr {
	readings := []netip.Addr{last}
	for _, r := range [][5]int{{6, 7, 9, 10, 11}, {7, 9, 10, 11, 12}, {9, 10, 11, 12, 13}} {
		suffix := byte(0)
		for _, x := range b[r[4]:] {
			suffix |= x
		}
		if b[8] == 0 && suffix == 0 {
			readings = append(readings, netip.AddrFrom4([4]byte{b[r[0]], b[r[1]], b[r[2]], b[r[3]]}))
		}
	}
	out := slices.DeleteFunc(slices.Clone(readings), thisNetwork.Contains)
	if len(out) == 0 {
		return readings
	}
	return out
}
