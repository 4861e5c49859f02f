package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

const (
	maxQuestions = 512  // under way at a time
	questionRate = 5000 // per second, answers from the cache included
)

// dnsAnswers is what all sessions share to answer questions.
type dnsAnswers struct {
	turns *turns.Turns // questions, by the resource that covers them

	mu     sync.Mutex
	caches map[string]*records.Cache // by Resource.Exit: each exit has its own names
}

func newDNSAnswers() dnsAnswers {
	return dnsAnswers{
		caches: map[string]*records.Cache{},
		turns:  turns.New(turns.Limits{Places: maxQuestions, Rate: questionRate, Burst: questionRate, Patience: patience}),
	}
}

// keep forgets the answers of all exits except these and the machine's own way.
func (d *dnsAnswers) keep(exits map[string]dial.Exit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.caches, func(exit string, _ *records.Cache) bool { return exit != "" && exits[exit] == nil })
}

func (d *dnsAnswers) cache(exit string) *records.Cache {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.caches[exit] == nil {
		d.caches[exit] = records.NewCache()
	}
	return d.caches[exit]
}

// query asks the resolver on the way to a resource, unless the answer is known. It
// records in from which of both it was.
func (g *Gateway) query(ctx context.Context, r resource.Resource, q records.Question, from *answerFrom) (*dns.Msg, error) {
	way, err := g.dialer.Exit(r)
	if err != nil {
		return nil, err
	}
	from.cache.Store(true)
	m, err := g.dns.cache(r.Exit).Get(ctx, q, func(ctx context.Context) (*dns.Msg, error) {
		from.cache.Store(false)
		ctx, cancel := context.WithTimeout(ctx, g.dialer.Timeout())
		defer cancel()
		return way.Query(ctx, q)
	})
	if err != nil {
		return nil, dial.ResolveError(r, q.Name, err)
	}
	return m, nil
}

// serveDNS answers one question as the tunnel's spec.md describes.
func (g *Gateway) serveDNS(ctx context.Context, st *tunnel.Stream) {
	req := st.Request()
	began, from := time.Now(), new(answerFrom)
	m, b, name, err := g.answer(ctx, req.Target.Host, req.Target.Port, from)
	if err != nil && ctx.Err() != nil {
		return
	}
	g.recordQuestion(req, began, name, from, m, err)
	if err != nil {
		e := dial.Error(err)
		g.refused(req, name, e)
		_ = st.Reply(e.Code, e.Reason)
		return
	}
	if err := st.Reply(tunnel.Connected, ""); err != nil {
		return
	}
	_ = st.SetDeadline(time.Now().Add(g.dialer.Timeout()))
	if _, err := st.Write(b); err == nil && st.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(st, 1)) // wait for the remote's end: an earlier Close would reset the stream
	}
}

// answer returns the answer, also packed, and the name of the resource that covers the
// question.
func (g *Gateway) answer(ctx context.Context, host string, qtype uint16, from *answerFrom) (m *dns.Msg, packed []byte, resource string, err error) {
	g.mu.Lock()
	set := g.set
	g.mu.Unlock()
	if a, ok := records.Reverse(host); ok {
		m, resource, err = g.answerReverse(ctx, set, a, records.Question{Name: host, Type: qtype}, from)
	} else {
		m, resource, err = g.answerName(ctx, set, host, qtype, from)
	}
	if err != nil {
		return nil, nil, resource, err
	}
	m.Response, m.Compress = true, true
	m.Question = []dns.Question{{Name: dns.Fqdn(host), Qtype: qtype, Qclass: dns.ClassINET}}
	if packed, err = m.Pack(); err != nil || len(packed) > records.MaxMessage {
		return nil, nil, resource, &tunnel.Error{Code: tunnel.ResolveFailed, Reason: "the answer is too long or cannot be encoded"}
	}
	return m, packed, resource, nil
}

// turn waits until one more question of a resource may be under way. The caller
// calls release if err is nil.
func (d *dnsAnswers) turn(ctx context.Context, resource string) (release func(), err error) {
	release, err = d.turns.Wait(ctx, turns.Key{Resource: resource})
	if errors.Is(err, turns.ErrBusy) {
		return nil, &tunnel.Error{Code: tunnel.Overloaded, Reason: "too many names are being asked for at once"}
	}
	return release, err
}

// answerReverse answers for an address if a resource has it as such.
func (g *Gateway) answerReverse(ctx context.Context, set *resource.Set, a netip.Addr, q records.Question, from *answerFrom) (*dns.Msg, string, error) {
	matches, err := set.Named(a.String())
	if err != nil || len(matches) == 0 {
		return nil, "", &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("no approved resource covers %s", a)}
	}
	r := matches[0].Resource
	if _, err := g.allowed(matches, []netip.Addr{a}); err != nil {
		return nil, r.Name, err
	}
	release, err := g.dns.turn(ctx, r.Name)
	if err != nil {
		return nil, r.Name, err
	}
	defer release()
	if q.Type == dns.TypeANY {
		q.Type = dns.TypePTR
		m, err := g.query(ctx, r, q, from)
		return minimal(m, q.Name), r.Name, err
	}
	m, err := g.query(ctx, r, q, from)
	return m, r.Name, err
}

func (g *Gateway) answerName(ctx context.Context, set *resource.Set, host string, qtype uint16, from *answerFrom) (*dns.Msg, string, error) {
	matches, err := named(set, host)
	if err == nil && len(matches) == 0 {
		err = fmt.Errorf("no approved resource names %s", show.Text(host))
	}
	if err != nil {
		return nil, "", &tunnel.Error{Code: tunnel.Denied, Reason: err.Error()}
	}
	first := matches[0]
	name := first.Resource.Name
	if first.Name == "" && first.Resource.As == "" {
		return nil, name, &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("%s is an address, not a name", first.Addr)}
	}
	release, err := g.dns.turn(ctx, name)
	if err != nil {
		return nil, name, err
	}
	defer release()
	ask := qtype
	if qtype == dns.TypeANY {
		ask = dns.TypeA // tells whether the name exists
	}
	m, err := g.ask(ctx, first, ask, from)
	if err != nil {
		return nil, name, err
	}
	if qtype == dns.TypeANY {
		return minimal(m, host), name, nil
	}
	if !first.ByExit() {
		if err := g.judgeAnswer(matches, m); err != nil {
			return nil, name, err
		}
	}
	stripHints(m)
	rename(m, first.Name, host)
	return m, name, nil
}

// named is Set.Named, and finds the service labels of a name as well: the resource of
// db.test covers _mongodb._tcp.db.test, too.
func named(set *resource.Set, host string) ([]resource.Match, error) {
	matches, err := set.Named(host)
	owner := host
	for strings.HasPrefix(owner, "_") {
		_, owner, _ = strings.Cut(owner, ".")
	}
	if err != nil || len(matches) > 0 || owner == host || owner == "" {
		return matches, err
	}
	if matches, err = set.Named(owner); err != nil {
		return nil, err
	}
	labels := strings.ToLower(strings.TrimSuffix(host, owner))
	// An address and this machine itself have no service labels.
	matches = slices.DeleteFunc(matches, func(m resource.Match) bool { return m.Name == "" || m.Resource.Host.IsLocalhost() || m.ByExit() })
	for i := range matches {
		matches[i].Name = labels + matches[i].Name
	}
	return matches, nil
}

// ask returns the records of what a match stands for, not judged.
func (g *Gateway) ask(ctx context.Context, match resource.Match, qtype uint16, from *answerFrom) (*dns.Msg, error) {
	switch {
	case match.ByExit():
		return unresolved(match.Name, qtype), nil
	case !match.Addr.IsValid() && !match.Resource.Host.IsLocalhost():
		m, err := g.query(ctx, match.Resource, records.Question{Name: match.Name, Type: qtype}, from)
		if err != nil || m.Rcode != dns.RcodeNameError {
			return m, err
		}
		if addrs := g.dialer.Exact(ctx, match); len(addrs) > 0 {
			return addressesOnly(match.Name, addrs, qtype), nil
		}
		return m, nil
	}
	// Only this helper knows the name. The name has addresses and no other records.
	addrs, err := g.dialer.Resolve(ctx, match)
	return addressesOnly(match.Name, addrs, qtype), err
}

// addressesOnly returns the answer for a name that has these addresses and no other
// records.
func addressesOnly(name string, addrs []netip.Addr, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	for _, a := range addrs {
		if rr := records.Address(name, a, records.UnknownTTL); rr.Header().Rrtype == qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

// unresolved answers for a name that only the exit can resolve. It assumes that the
// name exists, and stands an address for documentation (RFC 5737) in for the unknown
// one. The remote's programs see a loopback address instead. A proxy cannot answer for
// other types of record.
func unresolved(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	switch qtype {
	case dns.TypeA:
		m.Answer = []dns.RR{records.Address(name, netip.AddrFrom4([4]byte{192, 0, 2, 1}), records.UnknownTTL)}
	case dns.TypeAAAA:
	default:
		m.Rcode = dns.RcodeNotImplemented
	}
	return m
}

// judgeAnswer removes the addresses from m that the judge refuses. It returns an error
// if it refuses all of them.
func (g *Gateway) judgeAnswer(matches []resource.Match, m *dns.Msg) error {
	var addrs []netip.Addr
	for _, rr := range m.Answer {
		if a, ok := records.AddressOf(rr); ok {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	allowed, err := g.allowed(matches, addrs)
	if err != nil {
		return err
	}
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
		a, ok := records.AddressOf(rr)
		return ok && !slices.Contains(allowed, a)
	})
	return nil
}

// minimal returns the answer to ANY (RFC 8482, section 4.2) for a name. m is an answer
// that reports whether the name exists.
func minimal(m *dns.Msg, name string) *dns.Msg {
	if m == nil || m.Rcode != dns.RcodeSuccess {
		return m
	}
	ttl := records.Lifetime(m)
	if ttl == 0 {
		ttl = records.UnknownTTL
	}
	h := dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: ttl}
	return &dns.Msg{Answer: []dns.RR{&dns.HINFO{Hdr: h, Cpu: "RFC8482"}}}
}

// stripHints removes the addresses from HTTPS and SVCB records: the remote cannot use
// them, and nothing has judged them.
func stripHints(m *dns.Msg) {
	hint := func(k dns.SVCBKey) bool { return k == dns.SVCB_IPV4HINT || k == dns.SVCB_IPV6HINT }
	for _, rr := range m.Answer {
		svcb, ok := rr.(*dns.SVCB)
		if https, isHTTPS := rr.(*dns.HTTPS); isHTTPS {
			svcb, ok = &https.SVCB, true
		}
		if !ok {
			continue
		}
		svcb.Value = slices.DeleteFunc(svcb.Value, func(v dns.SVCBKeyValue) bool {
			if list, ok := v.(*dns.SVCBMandatory); ok {
				list.Code = slices.DeleteFunc(list.Code, hint)
				return len(list.Code) == 0
			}
			return hint(v.Key())
		})
	}
}

// rename replaces the real name of a resource in m by the name that the remote uses.
func rename(m *dns.Msg, own, used string) {
	if dns.CanonicalName(own) == dns.CanonicalName(used) {
		return
	}
	for _, rr := range m.Answer {
		if h := rr.Header(); dns.CanonicalName(h.Name) == dns.CanonicalName(own) {
			h.Name = dns.Fqdn(used)
		}
	}
}
