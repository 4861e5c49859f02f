// Package systemdns asks for DNS records as the machine's own programs do. It keeps only
// the records that answer the question. It judges nothing.
package systemdns

import (
	"context"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// Resolver asks this machine's resolver. The zero value is ready for use. It is
// safe for concurrent use.
type Resolver struct {
	system
}

// Query returns the answer to q: its rcode, any CNAMEs and the records behind them, and
// the SOA of a negative answer. An error means that no server answered in time, or that
// the answer cannot be read. If the system does not tell the TTL of a record, the TTL is
// records.UnknownTTL.
func (r *Resolver) Query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	return r.query(ctx, q)
}

// maxChain is how many CNAMEs Query follows.
const maxChain = 16

// tidy returns the records of the answer m that answer q.
func tidy(m *dns.Msg, q records.Question) *dns.Msg {
	out := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: m.Rcode}}
	if m.Rcode > 0xF { // an extended rcode, which only this hop understands
		out.Rcode = dns.RcodeServerFailure
	}
	if out.Rcode != dns.RcodeSuccess && out.Rcode != dns.RcodeNameError {
		return out
	}
	name, found := dns.Fqdn(q.Name), false
	for range maxChain {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == q.Type {
				out.Answer = append(out.Answer, rr)
				found = true
			} else if c, ok := rr.(*dns.CNAME); ok && next == "" {
				next = c.Target
				out.Answer = append(out.Answer, rr)
			}
		}
		if found || next == "" {
			break
		}
		name = next
	}
	out.Answer = dns.Dedup(out.Answer, nil)
	if found {
		return out
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok && soa.Hdr.Class == dns.ClassINET && dns.IsSubDomain(soa.Hdr.Name, name) {
			out.Ns = []dns.RR{soa}
			break
		}
	}
	return out
}
