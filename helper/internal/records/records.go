// Package records has what both helpers need for DNS: questions, records, and a cache of
// answers.
package records

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// UnknownTTL is the TTL, in seconds, of a record whose source does not tell it.
const UnknownTTL = 30

// MaxMessage is the size of the longest DNS message, in bytes.
const MaxMessage = dns.MaxMsgSize - 1

// Question is what one query asks, of class IN.
type Question struct {
	Name string // in lower case, without the trailing dot
	Type uint16 // as in package dns
}

// QuestionOf returns the question of a query. ok is false unless m is a query
// with one question of class IN.
func QuestionOf(m *dns.Msg) (q Question, ok bool) {
	if m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET {
		return Question{}, false
	}
	return Question{normal(m.Question[0].Name), m.Question[0].Qtype}, true
}

func normal(name string) string { return strings.TrimSuffix(dns.CanonicalName(name), ".") }

// Reverse returns the address of a name below in-addr.arpa or ip6.arpa. ok is false for
// any other name, and for the name of a network.
func Reverse(name string) (a netip.Addr, ok bool) {
	name = normal(name)
	if rest, found := strings.CutSuffix(name, ".in-addr.arpa"); found {
		labels := strings.Split(rest, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil
	}
	rest, found := strings.CutSuffix(name, ".ip6.arpa")
	labels := strings.Split(rest, ".")
	if !found || len(labels) != 32 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i, label := range labels {
		n, err := strconv.ParseUint(label, 16, 4)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}

// Address returns the record for an address of a name.
func Address(name string, a netip.Addr, ttl uint32) dns.RR {
	h := dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}
	if a.Is4() {
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

// AddressOf returns the address in a record of type A or AAAA.
func AddressOf(rr dns.RR) (a netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		a, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return a.Unmap(), ok
}

// Lifetime returns how long an answer may be kept, in seconds. That is the least TTL of
// its records. For an answer without records it follows from the SOA (RFC 2308, section
// 5). It is 0 without a SOA and for failures.
func Lifetime(m *dns.Msg) uint32 {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	ttl := uint32(1<<31 - 1)
	for _, rr := range m.Answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	if len(m.Answer) > 0 && len(m.Ns) == 0 {
		return ttl
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttl, soa.Hdr.Ttl, soa.Minttl)
		}
	}
	return 0
}
