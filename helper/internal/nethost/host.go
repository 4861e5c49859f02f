// Package nethost decides what a string that names a host stands for: a name, a
// wildcard, one address or a network, and whether an address belongs to this
// machine or is special. Settings, publications and the requests of programs are
// all read here. The package resolves nothing and does no I/O.
package nethost

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Localhost is the name by which every machine knows itself.
const Localhost = "localhost"

// Limits of a host name in bytes, after conversion to A-labels (RFC 1035).
const (
	MaxName  = 253
	maxLabel = 63
)

var (
	errEmptyHost   = errors.New("the host is empty")
	errLongHost    = fmt.Errorf("the host name is longer than %d bytes", MaxName)
	errZone        = errors.New("an address with a zone (%) cannot be reached from another machine")
	errOddAddress  = errors.New("that is neither a host name nor an address in its usual spelling, such as 10.1.2.3")
	errBrackets    = errors.New("an IPv6 address is written without brackets")
	errBadWildcard = errors.New(`a wildcard is written "*.domain" and stands for every name below that domain`)
)

// Host is one host in its normal form. Exactly one of the fields is set; the zero
// value is no host.
type Host struct {
	Name string     // lower case, A-labels, no trailing dot
	Addr netip.Addr // unmapped, no zone
}

// String returns the name or the address.
func (h Host) String() string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	return h.Name
}

// IsLocalhost reports whether h is the name localhost or a name below it
// (RFC 6761).
func (h Host) IsLocalhost() bool {
	return h.Name == Localhost || strings.HasSuffix(h.Name, "."+Localhost)
}

// IsSelf reports whether h leads to the machine that uses it, whatever the
// addresses of that machine are: localhost, a loopback address, or an address
// that the system takes for loopback.
func (h Host) IsSelf() bool {
	return h.IsLocalhost() || h.Addr.IsValid() && IsLocal(h.Addr, nil)
}

// Parse returns the normal form of one host that a program or a person spelled.
// Some resolvers accept addresses in odd spellings (127.1, 0x7f.1, 2130706433,
// 0177.0.0.1). Parse returns an error for these, and for an address with a zone.
func Parse(s string) (Host, error) {
	switch {
	case s == "":
		return Host{}, errEmptyHost
	case len(s) > 4*MaxName:
		return Host{}, errLongHost
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return Host{}, errZone
		}
		return Host{Addr: addr.Unmap()}, nil
	}
	switch {
	case strings.HasPrefix(s, "["):
		return Host{}, errBrackets
	case strings.Contains(s, "%"):
		return Host{}, errZone
	}
	name, err := parseName(s)
	return Host{Name: name}, err
}

func parseName(s string) (string, error) {
	if !isASCII(s) || strings.Contains(strings.ToLower(s), "xn--") {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) {
			return "", fmt.Errorf("%.80q is not a valid international host name", s)
		}
		s = a
	}
	s = strings.TrimSuffix(strings.ToLower(s), ".")
	switch {
	case s == "":
		return "", errEmptyHost
	case len(s) > MaxName:
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

// checkLabel accepts letters, digits, inner hyphens and underscores, which
// private names contain.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("the host name has an empty part between two dots")
	case len(label) > maxLabel:
		return fmt.Errorf("a part of the host name is longer than %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%.80q begins or ends with a hyphen", label)
	}
	for _, c := range []byte(label) {
		if c != '-' && c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("a host name cannot contain %q", rune(c))
		}
	}
	return nil
}

// isNumeric reports whether some resolvers take a name with this last label for an
// address. No top-level domain is a number.
func isNumeric(label string) bool {
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
