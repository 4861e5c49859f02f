package resource

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	localhost = "localhost"

	maxName  = 253 // of a host name, in bytes of its A-labels
	maxLabel = 63
)

var (
	errEmptyHost   = errors.New("the host is empty")
	errLongHost    = fmt.Errorf("the host name is longer than %d bytes", maxName)
	errZone        = errors.New("an address with a zone (%) cannot be reached from another machine")
	errOddAddress  = errors.New("that is neither a host name nor an address in its usual spelling, such as 10.1.2.3")
	errBrackets    = errors.New("an IPv6 address is written without brackets")
	errBadWildcard = errors.New(`a wildcard is written "*.domain" and stands for every name below that domain`)
)

// NormalizeHost returns the normal form of a host that a program or a person
// spelled: a name in lower case, as A-labels, without trailing dot, or an
// address, an IPv4-mapped one as IPv4. Exactly one of name and addr is set if
// err is nil. What some resolver would take for an address in an odd spelling
// (127.1, 0x7f.1, 2130706433, 0177.0.0.1) is an error, as is a zone.
func NormalizeHost(s string) (name string, addr netip.Addr, err error) {
	switch {
	case s == "":
		return "", netip.Addr{}, errEmptyHost
	case len(s) > 4*maxName:
		return "", netip.Addr{}, errLongHost
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return "", netip.Addr{}, errZone
		}
		return "", addr.Unmap(), nil
	}
	switch {
	case strings.HasPrefix(s, "["):
		return "", netip.Addr{}, errBrackets
	case strings.Contains(s, "%"):
		return "", netip.Addr{}, errZone
	}
	name, err = normalizeName(s)
	return name, netip.Addr{}, err
}

func normalizeName(s string) (string, error) {
	if !isASCII(s) || strings.Contains(strings.ToLower(s), "xn--") {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) {
			return "", fmt.Errorf("%s is not a valid international host name", quote(s))
		}
		s = a
	}
	s = strings.TrimSuffix(strings.ToLower(s), ".")
	switch {
	case s == "":
		return "", errEmptyHost
	case len(s) > maxName:
		return "", errLongHost
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
		last = label
	}
	if isNumeric(last) {
		return "", errOddAddress
	}
	return s, nil
}

// checkLabel admits letters, digits, inner hyphens and, since private names
// have them, underscores.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("the host name has an empty part between two dots")
	case len(label) > maxLabel:
		return fmt.Errorf("a part of the host name is longer than %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%s begins or ends with a hyphen", quote(label))
	}
	for _, c := range []byte(label) {
		if c != '-' && c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("a host name cannot contain %q", rune(c))
		}
	}
	return nil
}

// isNumeric says whether a name with this last label may be taken for an
// address: no top-level domain is a number.
func isNumeric(label string) bool {
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// parseHost reads the host of a settings entry.
func parseHost(s string) (Host, error) {
	if strings.Contains(s, "://") {
		return Host{}, errors.New("host is a name, an address, a CIDR or \"*.domain\", not a URL")
	}
	if strings.Contains(s, "/") {
		p, err := parsePrefix(s)
		return hostOf(p), err
	}
	if strings.Contains(s, "*") {
		domain, ok := strings.CutPrefix(s, "*.")
		if !ok || strings.Contains(domain, "*") {
			return Host{}, errBadWildcard
		}
		name, addr, err := NormalizeHost(domain)
		if err == nil && (addr.IsValid() || name == localhost) {
			err = errBadWildcard
		}
		return Host{Kind: Wildcard, Name: name}, err
	}
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") && isNumeric(port) {
		return Host{}, fmt.Errorf(`host is %s alone; the port belongs into "ports"`, quote(host))
	}
	name, addr, err := NormalizeHost(s)
	switch {
	case err != nil:
		return Host{}, err
	case addr.IsValid():
		return hostOf(netip.PrefixFrom(addr, addr.BitLen())), nil
	}
	return Host{Kind: Name, Name: name}, nil
}

// hostOf tells a CIDR from one that is a single address.
func hostOf(p netip.Prefix) Host {
	if p.IsSingleIP() {
		return Host{Kind: Address, Prefix: p}
	}
	return Host{Kind: Prefix, Prefix: p}
}

// parsePrefix reads a CIDR, or an address as the CIDR that holds only it.
// An IPv4-mapped one becomes IPv4.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		_, addr, err := NormalizeHost(s)
		if err != nil || !addr.IsValid() {
			return netip.Prefix{}, fmt.Errorf("%s is not a CIDR such as 10.0.0.0/8", quote(s))
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a CIDR such as 10.0.0.0/8", quote(s))
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%s mixes IPv4 with IPv6; write the IPv4 network", quote(s))
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s is not the start of a network; %s is", p, p.Masked())
	}
	return p, nil
}
