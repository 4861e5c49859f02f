package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

const (
	// askTime is shorter than the default timeout of resolver libraries, so that
	// programs see a clear failure while the link stands still.
	askTime = 4 * time.Second
	// addressTTL bounds how long clients keep an address of the capture, in seconds.
	// After the session the address is useless.
	addressTTL = 30
)

// isOurs tells whether the stub answers a question itself.
func (s *Source) isOurs(q records.Question) bool {
	if a, ok := records.Reverse(q.Name); ok {
		if _, ours := s.o.Names.NameOf(a); ours {
			return true
		}
		return s.o.Covers(a.String())
	}
	return s.o.Covers(q.Name) || s.isService(q)
}

// isService tells whether q asks about service labels of a resource's name, such
// as _ldap._tcp.NAME. These have no addresses on the remote.
func (s *Source) isService(q records.Question) bool {
	owner := q.Name
	for strings.HasPrefix(owner, "_") {
		_, owner, _ = strings.Cut(owner, ".")
	}
	return owner != q.Name && owner != "" && q.Type != dns.TypeA && q.Type != dns.TypeAAAA && s.o.Covers(owner)
}

// answer returns the whole reply to a query of q. private is false if the laptop
// has no such name: one below a wildcard that may be known elsewhere.
func (s *Source) answer(ctx context.Context, query *dns.Msg, q records.Question, who owner.Owner) (_ *dns.Msg, private bool) {
	m, private := s.resolve(ctx, q, who), true
	if _, reverse := records.Reverse(q.Name); !reverse && !s.o.Exact(q.Name) {
		m, private = s.isPrivate(ctx, q, m, who)
	}
	reply := new(dns.Msg).SetReply(query)
	reply.Rcode, reply.Answer, reply.Ns = m.Rcode, m.Answer, m.Ns
	reply.RecursionAvailable, reply.Compress = true, true
	for _, rr := range reply.Answer { // in the spelling of the query
		if h := rr.Header(); strings.EqualFold(h.Name, query.Question[0].Name) {
			h.Name = query.Question[0].Name
		}
	}
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(ednsSize, false)
		if opt.Version() != 0 {
			reply.Rcode, reply.Answer, reply.Ns = dns.RcodeBadVers, nil, nil
		}
	}
	return reply, private
}

// isPrivate tells whether the laptop knows the name of q, to which it answered m. A
// name whose addresses the resource excludes is not private either. If a name has
// addresses of one family only, the other one is not asked for elsewhere: programs
// would be led past the resource.
func (s *Source) isPrivate(ctx context.Context, q records.Question, m *dns.Msg, who owner.Owner) (*dns.Msg, bool) {
	if q.Type != dns.TypeA && q.Type != dns.TypeAAAA {
		return m, m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeRefused
	}
	if len(m.Answer) > 0 || m.Rcode == dns.RcodeServerFailure {
		return m, true
	}
	if q.Type == dns.TypeA {
		return m, false // address has looked for both families
	}
	other := s.ask(ctx, records.Question{Name: q.Name, Type: dns.TypeA}, who)
	switch {
	case other.Rcode == dns.RcodeServerFailure:
		return m, true
	case !found(other, dns.TypeA):
		return m, false
	case m.Rcode == dns.RcodeRefused:
		return noRecord(q, addressTTL), true
	}
	return m, true
}

func failure(rcode int) *dns.Msg { return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode}} }

func (s *Source) resolve(ctx context.Context, q records.Question, who owner.Owner) *dns.Msg {
	if a, ok := records.Reverse(q.Name); ok {
		if name, ours := s.o.Names.NameOf(a); ours {
			return reverseAnswer(q, name)
		}
	}
	switch q.Type {
	case dns.TypeA:
		return s.address(ctx, q, who)
	case dns.TypeAAAA:
		return s.address6(ctx, q, who)
	}
	return s.ask(ctx, q, who)
}

// reverseAnswer answers a question about the address of a name.
func reverseAnswer(q records.Question, name string) *dns.Msg {
	if q.Type != dns.TypePTR && q.Type != dns.TypeANY {
		return noRecord(q, addressTTL)
	}
	m := failure(dns.RcodeSuccess)
	h := dns.RR_Header{Name: dns.Fqdn(q.Name), Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: addressTTL}
	m.Answer = []dns.RR{&dns.PTR{Hdr: h, Ptr: dns.Fqdn(name)}}
	return m
}

// noRecord answers that q's name has no such record on the remote. The name's zone
// does not know this, so the SOA is of the name itself. Without an SOA no client
// would cache the answer (RFC 2308).
func noRecord(q records.Question, ttl uint32) *dns.Msg {
	m := failure(dns.RcodeSuccess)
	name := dns.Fqdn(q.Name)
	h := dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl}
	m.Ns = []dns.RR{&dns.SOA{Hdr: h, Ns: name, Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: ttl}}
	return m
}

// address answers with the remote's IPv4 address for a name that has an address of
// either family at the gateway.
func (s *Source) address(ctx context.Context, q records.Question, who owner.Owner) *dns.Msg {
	ttl := uint32(addressTTL)
	var m, refused *dns.Msg
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m = s.ask(ctx, records.Question{Name: q.Name, Type: kind}, who)
		switch {
		case m.Rcode == dns.RcodeRefused && kind == dns.TypeA:
			refused = m // the name may have permitted addresses of the other family
		case m.Rcode != dns.RcodeSuccess && refused == nil:
			return m
		case found(m, kind):
			a, err := s.o.Names.Address(q.Name)
			return s.served(q, m, a, err, min(ttl, records.Lifetime(m)))
		}
	}
	if refused != nil {
		return refused
	}
	return withoutAlias(q, m)
}

// address6 answers with the remote's IPv6 address for a name that has one at the
// gateway. If names have no IPv6 addresses on the remote, it answers that there is no
// such record.
func (s *Source) address6(ctx context.Context, q records.Question, who owner.Owner) *dns.Msg {
	m := s.ask(ctx, q, who)
	if m.Rcode == dns.RcodeSuccess && found(m, dns.TypeAAAA) {
		ttl := min(addressTTL, records.Lifetime(m))
		if a, err := s.o.Names.Address6(q.Name); err != nil || a.IsValid() {
			return s.served(q, m, a, err, ttl)
		}
		return noRecord(q, ttl)
	}
	return withoutAlias(q, m)
}

// withoutAlias removes a CNAME that leads to no address. A client that caches it
// would follow it for the other family too, past the address on the remote. The SOA
// may be of the zone that the CNAME led to.
func withoutAlias(q records.Question, m *dns.Msg) *dns.Msg {
	if m.Rcode == dns.RcodeSuccess && len(m.Ns) > 0 && !dns.IsSubDomain(m.Ns[0].Header().Name, dns.Fqdn(q.Name)) {
		return noRecord(q, min(addressTTL, records.Lifetime(m)))
	}
	m.Answer = nil
	return m
}

// served answers with the address at which q's name is served. m is the gateway's
// answer. If q's name is an alias in it, the address is that of the canonical name, which
// programs such as Kerberos want to know. No client may cache that: the canonical name
// itself has another address, or is none of the resources.
func (s *Source) served(q records.Question, m *dns.Msg, a netip.Addr, err error, ttl uint32) *dns.Msg {
	if err != nil {
		s.o.Log.Warn().Err(err).Msg("a name has no address here")
		return failure(dns.RcodeServerFailure)
	}
	reply := failure(dns.RcodeSuccess)
	chain, name := aliases(q.Name, m.Answer)
	if len(chain) > 0 {
		ttl = 0
	}
	reply.Answer = append(chain, records.Address(name, a, ttl))
	return reply
}

// maxAliases is how many aliases of one name are followed.
const maxAliases = 16

// aliases returns the CNAME records that lead from name to its canonical name, for the
// moment only, and the canonical name.
func aliases(name string, answer []dns.RR) (chain []dns.RR, canonical string) {
	first := name
	for range maxAliases {
		i := slices.IndexFunc(answer, func(rr dns.RR) bool {
			_, alias := rr.(*dns.CNAME)
			return alias && strings.EqualFold(strings.TrimSuffix(rr.Header().Name, "."), strings.TrimSuffix(name, "."))
		})
		if i < 0 {
			return chain, name
		}
		rr := dns.Copy(answer[i]).(*dns.CNAME)
		rr.Hdr.Ttl = 0
		chain, name = append(chain, rr), rr.Target
	}
	return nil, first // a loop
}

func found(m *dns.Msg, kind uint16) bool {
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == kind {
			return true
		}
	}
	return false
}

// ask returns the gateway's answer, from the cache if it is there.
func (s *Source) ask(ctx context.Context, q records.Question, who owner.Owner) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m, err := s.cache.Get(ctx, q, func(ctx context.Context) (*dns.Msg, error) { return s.exchange(ctx, q, who) })
	if err == nil {
		return m
	}
	e, ok := errors.AsType[*tunnel.Error](err)
	s.o.Log.Debug().Str("name", tunnel.Clean(q.Name)).Str("type", dns.Type(q.Type).String()).Err(err).Msg("question not answered")
	if ok && e.Code == tunnel.Denied {
		return failure(dns.RcodeRefused)
	}
	return failure(dns.RcodeServerFailure)
}

var errAsleep = errors.New("the session has no link now")

// exchange asks the gateway, as spec.md of the tunnel describes.
func (s *Source) exchange(ctx context.Context, q records.Question, who owner.Owner) (*dns.Msg, error) {
	if s.o.Asleep != nil && s.o.Asleep() && !s.o.Exact(q.Name) {
		return nil, errAsleep
	}
	request := s.o.Gateway.Request("dns", tunnel.Target{Network: tunnel.DNS, Host: q.Name, Port: q.Type}, who)
	_, b, err := s.o.Gateway.Ask(ctx, request, nil, records.MaxMessage)
	if err != nil {
		return nil, err
	}
	return parseAnswer(b)
}

// parseAnswer reads an answer of the gateway. It keeps rcode, answers and authority.
func parseAnswer(b []byte) (*dns.Msg, error) {
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		return nil, err
	}
	return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: m.Rcode}, Answer: m.Answer, Ns: m.Ns}, nil
}
