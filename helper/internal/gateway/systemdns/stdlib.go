package systemdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// byLibrary asks Go's resolver, which uses that of the system on macOS. It returns neither
// TTLs nor SOA records, and knows only some types. The answer for other types is NOTIMP.
func byLibrary(ctx context.Context, r *net.Resolver, q records.Question) (*dns.Msg, error) {
	m, err := libraryAnswer(ctx, r, q)
	var failure *net.DNSError
	switch {
	case err == nil:
		return m, nil
	case !errors.As(err, &failure) || !failure.IsNotFound:
		return nil, err
	case q.Type == dns.TypeA || q.Type == dns.TypeAAAA:
		return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: dns.RcodeNameError}}, nil
	}
	// "Not found" may only mean that there is no record of this type.
	m = &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	if _, err := r.LookupNetIP(ctx, "ip", q.Name+"."); errors.As(err, &failure) && failure.IsNotFound {
		m.Rcode = dns.RcodeNameError
	}
	return m, nil
}

func libraryAnswer(ctx context.Context, r *net.Resolver, q records.Question) (*dns.Msg, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	h, name := unknown(q), q.Name+"."
	add := func(rr dns.RR) { m.Answer = append(m.Answer, rr) }
	switch q.Type {
	case dns.TypeA, dns.TypeAAAA:
		addrs, err := r.LookupNetIP(ctx, "ip", name)
		if err != nil {
			return nil, err
		}
		return addressAnswer(q, addrs), nil
	case dns.TypeCNAME:
		target, err := r.LookupCNAME(ctx, name)
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(target, name) {
			add(&dns.CNAME{Hdr: h, Target: target})
		}
	case dns.TypeMX:
		list, err := r.LookupMX(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			add(&dns.MX{Hdr: h, Preference: x.Pref, Mx: x.Host})
		}
	case dns.TypeNS:
		list, err := r.LookupNS(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			add(&dns.NS{Hdr: h, Ns: x.Host})
		}
	case dns.TypeTXT:
		list, err := r.LookupTXT(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			rr, err := fromTexts(h, txtStrings(x))
			if err != nil {
				return nil, err
			}
			add(rr)
		}
	case dns.TypeSRV:
		_, list, err := r.LookupSRV(ctx, "", "", name)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			add(&dns.SRV{Hdr: h, Priority: x.Priority, Weight: x.Weight, Port: x.Port, Target: x.Target})
		}
	case dns.TypePTR:
		a, ok := records.Reverse(q.Name)
		if !ok {
			m.Rcode = dns.RcodeNotImplemented
			break
		}
		list, err := r.LookupAddr(ctx, a.String())
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			add(&dns.PTR{Hdr: h, Ptr: dns.Fqdn(x)})
		}
	default:
		m.Rcode = dns.RcodeNotImplemented
	}
	return m, nil
}

// txtStrings cuts a text into the strings that a record holds.
func txtStrings(s string) []string {
	const most = 255
	out := []string{}
	for len(s) > most {
		out, s = append(out, s[:most]), s[most:]
	}
	return append(out, s)
}

// addressAnswer returns the answer to q of a source that has only addresses.
func addressAnswer(q records.Question, addrs []netip.Addr) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	for _, a := range addrs {
		if rr := records.Address(q.Name, a.Unmap().WithZone(""), records.UnknownTTL); rr.Header().Rrtype == q.Type {
			m.Answer = append(m.Answer, rr)
		}
	}
	m.Answer = dns.Dedup(m.Answer, nil)
	return m
}

// unknown returns the header of a record whose TTL is not known.
func unknown(q records.Question) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(q.Name), Rrtype: q.Type, Class: dns.ClassINET, Ttl: records.UnknownTTL}
}
