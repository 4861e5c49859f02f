package nethost

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Kind tells what a Pattern stands for.
type Kind int

// The kinds of pattern.
const (
	Name     Kind = iota // one exact host name
	Wildcard             // "*.domain": every name below domain, but not domain itself
	Address              // one IP address
	Prefix               // a CIDR, which covers addresses and no names
)

// Pattern stands for one host or for many. Exactly the field that Kind names is
// set.
type Pattern struct {
	Kind   Kind
	Name   string       // of a Name as in Host; of a Wildcard the domain without "*."
	Prefix netip.Prefix // of an Address (full length) or a Prefix; unmapped, masked, no zone
}

// String returns the normal spelling: a name, "*.domain", an address or a CIDR.
func (p Pattern) String() string {
	switch p.Kind {
	case Wildcard:
		return "*." + p.Name
	case Address:
		return p.Prefix.Addr().String()
	case Prefix:
		return p.Prefix.String()
	default:
		return p.Name
	}
}

// IsLocalhost reports whether p is the name localhost.
func (p Pattern) IsLocalhost() bool { return p.Kind == Name && p.Name == Localhost }

// ByName reports whether p covers names, and not addresses.
func (p Pattern) ByName() bool { return p.Kind == Name || p.Kind == Wildcard }

// Covers reports whether p stands for h.
func (p Pattern) Covers(h Host) bool {
	switch p.Kind {
	case Name:
		return h.Name != "" && h.Name == p.Name
	case Wildcard:
		return strings.HasSuffix(h.Name, "."+p.Name)
	default:
		return h.Addr.IsValid() && p.Prefix.Contains(h.Addr)
	}
}

// ParsePattern reads the host of a settings entry or of a publication.
func ParsePattern(s string) (Pattern, error) {
	if strings.Contains(s, "://") {
		return Pattern{}, errors.New("host is a name, an address, a CIDR or \"*.domain\", not a URL")
	}
	if strings.Contains(s, "/") {
		p, err := ParsePrefix(s)
		return patternOf(p), err
	}
	if strings.Contains(s, "*") {
		domain, ok := strings.CutPrefix(s, "*.")
		if !ok || strings.Contains(domain, "*") {
			return Pattern{}, errBadWildcard
		}
		h, err := Parse(domain)
		if err == nil && (h.Addr.IsValid() || h.Name == Localhost) {
			err = errBadWildcard
		}
		return Pattern{Kind: Wildcard, Name: h.Name}, err
	}
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") && isNumeric(port) {
		return Pattern{}, fmt.Errorf(`host is %.80q alone; the port belongs into "ports"`, host)
	}
	h, err := Parse(s)
	switch {
	case err != nil:
		return Pattern{}, err
	case h.Addr.IsValid():
		return patternOf(netip.PrefixFrom(h.Addr, h.Addr.BitLen())), nil
	}
	return Pattern{Kind: Name, Name: h.Name}, nil
}

// patternOf makes a CIDR that holds one address that address.
func patternOf(p netip.Prefix) Pattern {
	if p.IsSingleIP() {
		return Pattern{Kind: Address, Prefix: p}
	}
	return Pattern{Kind: Prefix, Prefix: p}
}

// ParsePrefix reads a CIDR. It reads an address as the CIDR that holds only that
// address. An IPv4-mapped CIDR becomes an IPv4 one.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		h, err := Parse(s)
		if err != nil || !h.Addr.IsValid() {
			return netip.Prefix{}, fmt.Errorf("%.80q is not a CIDR such as 10.0.0.0/8", s)
		}
		return netip.PrefixFrom(h.Addr, h.Addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.80q is not a CIDR such as 10.0.0.0/8", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%.80q mixes IPv4 with IPv6; write the IPv4 network", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s is not the start of a network; %s is", p, p.Masked())
	}
	return p, nil
}
