package gateway

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// fakeRecords answers with the records that are listed for a name.
type fakeRecords struct {
	records string // a zone

	mu    sync.Mutex
	asked []records.Question
}

func (f *fakeRecords) Query(_ context.Context, q records.Question) (*dns.Msg, error) {
	f.mu.Lock()
	f.asked = append(f.asked, q)
	f.mu.Unlock()
	if strings.HasPrefix(q.Name, "silent.") {
		return nil, context.DeadlineExceeded
	}
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}}
	if strings.HasPrefix(q.Name, "refused.") {
		m.Rcode = dns.RcodeRefused
		return m, nil
	}
	p := dns.NewZoneParser(strings.NewReader(f.records), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if rr.Header().Name != q.Name+"." {
			continue
		}
		m.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Type {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m, p.Err()
}

const testRecords = `
web.corp.test.   60 A     10.0.0.1
web.corp.test.   60 TXT   "hello"
web.corp.test.   60 HTTPS 1 . mandatory="alpn,ipv4hint" alpn="h2" ipv4hint="10.0.0.1" ipv6hint="fd00::1"
only.corp.test.  60 HTTPS 1 . mandatory="ipv4hint" ipv4hint="10.0.0.1"
web.corp.test.   60 MX    10 mail.corp.test.
lie.corp.test.   60 A     127.0.0.1
meta.corp.test.  60 A     169.254.169.254
six.corp.test.   60 AAAA  ::ffff:127.0.0.1
half.corp.test.  60 A     127.0.0.1
half.corp.test.  60 A     10.0.0.2
1.0.0.10.in-addr.arpa. 60 PTR web.corp.test.
`

const dnsResources = `[
	{"name": "domain", "host": "*.corp.test", "ports": [80]},
	{"name": "short", "host": "web.corp.test", "ports": [80], "as": "w.test"},
	{"name": "literal", "host": "10.9.9.9", "ports": [80], "as": "lit.test"},
	{"name": "here", "host": "localhost", "ports": [80], "as": "here.test"},
	{"name": "net", "host": "10.0.0.0/24", "ports": [80]}]`

// question returns the answer to one question in short.
func (r *rig) question(host string, qtype uint16) string {
	r.t.Helper()
	st := r.open(tunnel.DNS, host, qtype, "")
	_ = st.CloseWrite()
	if _, err := st.Answer(r.t.Context()); err != nil {
		e, ok := errors.AsType[*tunnel.Error](err)
		if !ok {
			r.t.Fatal(err)
		}
		return e.Code.String()
	}
	b, err := io.ReadAll(st)
	if err != nil {
		r.t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		r.t.Fatal(err)
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(out, "|")
}

func TestQuestions(t *testing.T) {
	fake := &fakeRecords{records: testRecords}
	r := newRig(t, Options{Dial: dial.Options{Records: fake}}, dnsResources)
	for _, c := range []struct {
		host  string
		qtype uint16
		want  string
	}{
		{"web.corp.test", dns.TypeA, "NOERROR|web.corp.test. 60 IN A 10.0.0.1"},
		{"WEB.Corp.test.", dns.TypeA, "NOERROR|web.corp.test. 60 IN A 10.0.0.1"},
		{"web.corp.test", dns.TypeAAAA, "NOERROR"},
		{"web.corp.test", dns.TypeTXT, `NOERROR|web.corp.test. 60 IN TXT "hello"`},
		{"web.corp.test", dns.TypeMX, "NOERROR|web.corp.test. 60 IN MX 10 mail.corp.test."},
		{"web.corp.test", dns.TypeHTTPS, `NOERROR|web.corp.test. 60 IN HTTPS 1 . mandatory="alpn" alpn="h2"`},
		{"only.corp.test", dns.TypeHTTPS, "NOERROR|only.corp.test. 60 IN HTTPS 1 ."},
		{"web.corp.test", dns.TypeANY, `NOERROR|web.corp.test. 60 IN HINFO "RFC8482" ""`},
		{"gone.corp.test", dns.TypeANY, "NXDOMAIN"},
		{"gone.corp.test", dns.TypeA, "NXDOMAIN"},
		{"refused.corp.test", dns.TypeA, "REFUSED"},
		{"silent.corp.test", dns.TypeA, "name look-up failed"},
		{"lie.corp.test", dns.TypeA, "denied"},
		{"meta.corp.test", dns.TypeA, "denied"},
		{"six.corp.test", dns.TypeAAAA, "denied"},
		{"half.corp.test", dns.TypeA, "NOERROR|half.corp.test. 60 IN A 10.0.0.2"},
		{"w.test", dns.TypeA, "NOERROR|w.test. 60 IN A 10.0.0.1"},
		{"lit.test", dns.TypeA, "NOERROR|lit.test. 30 IN A 10.9.9.9"},
		{"lit.test", dns.TypeMX, "NOERROR"},
		{"here.test", dns.TypeA, "NOERROR|here.test. 30 IN A 127.0.0.1"},
		{"1.0.0.10.in-addr.arpa", dns.TypePTR, "NOERROR|1.0.0.10.in-addr.arpa. 60 IN PTR web.corp.test."},
		{"1.0.0.127.in-addr.arpa", dns.TypePTR, "denied"},
		{"corp.test", dns.TypeA, "denied"},
		{"elsewhere.test", dns.TypeA, "denied"},
		{"10.0.0.1", dns.TypeA, "denied"},
	} {
		if got := r.question(c.host, c.qtype); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.host, dns.Type(c.qtype), got, c.want)
		}
	}
	asked := len(fake.asked)
	if r.question("web.corp.test", dns.TypeA); len(fake.asked) != asked {
		t.Error("the answer was not kept")
	}
	for _, q := range fake.asked {
		if !strings.HasSuffix(q.Name, ".corp.test") && q.Name != "1.0.0.10.in-addr.arpa" {
			t.Errorf("asked for %v, which no resource names", q)
		}
	}
}

// TestAnswersAreJudgedEachTime covers an answer that was kept from before the
// resource said which addresses its name may have.
func TestAnswersAreJudgedEachTime(t *testing.T) {
	r := newRig(t, Options{Dial: dial.Options{Records: &fakeRecords{records: testRecords}}}, `[{"host": "web.corp.test", "ports": [80]}]`)
	if got := r.question("web.corp.test", dns.TypeA); !strings.HasPrefix(got, "NOERROR") {
		t.Fatal(got)
	}
	r.approve(`[{"host": "web.corp.test", "ports": [80], "addresses": ["10.5.0.0/16"]}]`)
	if got := r.question("web.corp.test", dns.TypeA); got != "denied" {
		t.Errorf("%s, want denied", got)
	}
}

// The labels of services below a name belong to the name's resource.
func TestServiceLabels(t *testing.T) {
	fake := &fakeRecords{records: `
_mongodb._tcp.db.corp.test. 60 SRV 0 0 27017 shard0.corp.test.
_kerberos.db.corp.test.     60 TXT "CORP.TEST"
_evil._tcp.db.corp.test.    60 A 127.0.0.1
`}
	r := newRig(t, Options{Dial: dial.Options{Records: fake}}, `[
		{"host": "db.corp.test", "ports": [27017]}, {"host": "db.corp.test", "ports": [80], "as": "mongo.test"},
		{"host": "10.9.9.9", "ports": [80], "as": "lit.test"}, {"host": "localhost", "ports": [80], "as": "here.test"}]`)
	for _, c := range []struct {
		host  string
		qtype uint16
		want  string
	}{
		{"_mongodb._tcp.db.corp.test", dns.TypeSRV, "NOERROR|_mongodb._tcp.db.corp.test. 60 IN SRV 0 0 27017 shard0.corp.test."},
		{"_MongoDB._TCP.mongo.test", dns.TypeSRV, "NOERROR|_MongoDB._TCP.mongo.test. 60 IN SRV 0 0 27017 shard0.corp.test."},
		{"_kerberos.db.corp.test", dns.TypeTXT, `NOERROR|_kerberos.db.corp.test. 60 IN TXT "CORP.TEST"`},
		{"_none._tcp.db.corp.test", dns.TypeSRV, "NXDOMAIN"},
		{"_evil._tcp.db.corp.test", dns.TypeA, "denied"},
		{"www.db.corp.test", dns.TypeA, "denied"},
		{"_x.www.db.corp.test", dns.TypeSRV, "denied"},
		{"_x._tcp.lit.test", dns.TypeSRV, "denied"},
		{"_x._tcp.here.test", dns.TypeSRV, "denied"},
		{"_x._tcp", dns.TypeSRV, "denied"},
	} {
		if got := r.question(c.host, c.qtype); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.host, dns.Type(c.qtype), got, c.want)
		}
	}
}

// A name that only the system's own resolver knows exists for the resource that is
// exactly that name, and its addresses are judged.
func TestNamesOfTheSystem(t *testing.T) {
	asked := 0
	exact := func(_ context.Context, name string) ([]netip.Addr, error) {
		asked++
		switch name {
		case "db":
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		case "printer.local":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, nil
	}
	n := &dialtest.Net{Hosts: map[string]any{"10.0.0.1": nil}}
	r := newRig(t, Options{Dial: dial.Options{Records: &fakeRecords{}, Resolver: &dialtest.Names{}, Exact: exact, Dial: n.Dial}},
		`[{"host": "db", "ports": [80]}, {"host": "printer.local", "ports": [80]}, {"host": "gone", "ports": [80]}, {"host": "*.local", "ports": [81]}]`)
	for host, want := range map[string]string{
		"db": "NOERROR|db. 30 IN A 10.0.0.1", "printer.local": "denied", "gone": "NXDOMAIN", "scanner.local": "NXDOMAIN",
	} {
		if got := r.question(host, dns.TypeA); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got := r.question("db", dns.TypeTXT); got != "NOERROR" {
		t.Errorf("TXT: %s", got)
	}
	if code, reason := r.code(tunnel.TCP, "db", 80); code != tunnel.Connected {
		t.Errorf("db: %v %s", code, reason)
	}
	if code, _ := r.code(tunnel.TCP, "gone", 80); code != tunnel.NoSuchName {
		t.Errorf("gone: %v", code)
	}
	if code, _ := r.code(tunnel.TCP, "scanner.local", 81); code != tunnel.NoSuchName {
		t.Errorf("a name below a wildcard: %v", code)
	}
	if asked != 3 { // one question for each exact name
		t.Errorf("the system was asked %d times", asked)
	}
}
