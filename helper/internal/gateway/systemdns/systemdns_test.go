package systemdns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a name server on loopback.
type server struct {
	port string

	mu    sync.Mutex
	asked []string // "udp web.corp.test. A" each
}

const zone = `
$ORIGIN corp.test.
$TTL 60
@        SOA   dns hostmaster 1 3600 600 86400 5
@        NS    dns
@        MX    10 web
@        TXT   "the private network"
web      A     10.77.0.12
web      AAAA  fd77::12
www      CNAME web
_h._tcp  SRV   0 5 80 web
long     TXT   "` // and more

func serve(t *testing.T, handle func(m *dns.Msg, q dns.Question)) *server {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", handle)
}

func serveAt(t *testing.T, at string, handle func(m *dns.Msg, q dns.Question)) *server {
	t.Helper()
	s := &server{}
	pc, ln := listenBoth(t, at)
	_, s.port, _ = net.SplitHostPort(pc.LocalAddr().String())
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.mu.Lock()
		s.asked = append(s.asked, w.LocalAddr().Network()+" "+q.Question[0].Name+" "+dns.Type(q.Question[0].Qtype).String())
		s.mu.Unlock()
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		handle(m, q.Question[0])
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(512)
		}
		_ = w.WriteMsg(m)
	})
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: answer}, {Listener: ln, Handler: answer}} {
		started, done := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { _ = srv.ActivateAndServe(); close(done) }()
		<-started
		t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	}
	return s
}

// listenBoth listens on one port by UDP and TCP; a free port of the one may be
// taken in the other.
func listenBoth(t *testing.T, at string) (net.PacketConn, net.Listener) {
	t.Helper()
	for tries := 0; ; tries++ {
		pc, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, ln
		}
		_ = pc.Close()
		if tries == 20 || !strings.HasSuffix(at, ":0") {
			t.Fatal(err)
		}
	}
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// fromZone answers from the zone above.
func fromZone(t *testing.T) func(m *dns.Msg, q dns.Question) {
	t.Helper()
	all := map[string][]dns.RR{}
	var soa dns.RR
	p := dns.NewZoneParser(strings.NewReader(zone+strings.Repeat("x", 250)+"\" \""+strings.Repeat("y", 250)+"\" \""+strings.Repeat("z", 250)+"\"\n"), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		all[rr.Header().Name] = append(all[rr.Header().Name], rr)
		if rr.Header().Rrtype == dns.TypeSOA {
			soa = rr
		}
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return func(m *dns.Msg, q dns.Question) {
		own := all[q.Name]
		if own == nil {
			m.Rcode = dns.RcodeNameError
		}
		for _, rr := range own {
			if c, ok := rr.(*dns.CNAME); ok && q.Qtype != dns.TypeCNAME {
				m.Answer = append(m.Answer, c)
				own = append(own, all[c.Target]...)
			}
		}
		for _, rr := range own {
			if rr.Header().Rrtype == q.Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) == 0 {
			m.Ns = []dns.RR{soa}
		}
	}
}

// told is an answer in short: its rcode, and the data of each record.
func told(m *dns.Msg) string {
	out := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		out += "|" + strings.TrimPrefix(rr.String(), rr.Header().String())
	}
	return out
}

func TestTidyKeepsOnlyWhatWasAsked(t *testing.T) {
	rr := func(s string) dns.RR {
		r, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	q := records.Question{Name: "www.corp.test", Type: dns.TypeA}
	m := &dns.Msg{
		Answer: []dns.RR{rr("WWW.corp.test. CNAME web.corp.test."), rr("evil.test. A 10.0.0.9"), rr("web.corp.test. A 10.0.0.1"),
			rr("web.corp.test. AAAA ::1"), rr("web.corp.test. CH A 10.0.0.3"), rr("web.corp.test. A 10.0.0.1")},
		Ns:    []dns.RR{rr("evil.test. SOA a b 1 2 3 4 5")},
		Extra: []dns.RR{rr("web.corp.test. A 127.0.0.1")},
	}
	if got := told(tidy(m, q)); got != "NOERROR|web.corp.test.|10.0.0.1" {
		t.Error(got)
	}
	negative := &dns.Msg{Ns: []dns.RR{rr("evil.test. SOA a b 1 2 3 4 5"), rr("corp.test. SOA a b 1 2 3 4 5"), rr("corp.test. NS dns.corp.test.")}}
	if got := tidy(negative, q); len(got.Ns) != 1 || got.Ns[0].Header().Name != "corp.test." {
		t.Error(got)
	}
	loop := &dns.Msg{Answer: []dns.RR{rr("www.corp.test. CNAME b.test."), rr("b.test. CNAME www.corp.test.")}}
	if got := tidy(loop, q); len(got.Answer) != 2 {
		t.Error(got)
	}
}

func FuzzTidy(f *testing.F) {
	m := new(dns.Msg).SetQuestion("www.corp.test.", dns.TypeA)
	m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: "www.corp.test.", Rrtype: dns.TypeCNAME, Class: 1}, Target: "www.corp.test."}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m dns.Msg
		if m.Unpack(b) != nil {
			return
		}
		out := tidy(&m, records.Question{Name: "www.corp.test", Type: dns.TypeA})
		for _, rr := range out.Answer {
			if k := rr.Header().Rrtype; k != dns.TypeA && k != dns.TypeCNAME {
				t.Fatalf("kept %v", rr)
			}
		}
	})
}

// TestLibrary is the contract of what macOS falls back to, with Go's own resolver
// in the place of the system's.
func TestLibrary(t *testing.T) {
	s := serve(t, fromZone(t))
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+s.port)
	}}
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.corp.test", dns.TypeA, "NOERROR|10.77.0.12"},
		{"web.corp.test", dns.TypeAAAA, "NOERROR|fd77::12"},
		{"www.corp.test", dns.TypeCNAME, "NOERROR|web.corp.test."},
		{"web.corp.test", dns.TypeCNAME, "NOERROR"},
		{"corp.test", dns.TypeMX, "NOERROR|10 web.corp.test."},
		{"corp.test", dns.TypeNS, "NOERROR|dns.corp.test."},
		{"corp.test", dns.TypeTXT, `NOERROR|"the private network"`},
		{"_h._tcp.corp.test", dns.TypeSRV, "NOERROR|0 5 80 web.corp.test."},
		{"web.corp.test", dns.TypeMX, "NOERROR"},
		{"gone.corp.test", dns.TypeA, "NXDOMAIN"},
		{"gone.corp.test", dns.TypeMX, "NXDOMAIN"},
		{"corp.test", dns.TypeSOA, "NOTIMP"},
		{"corp.test", dns.TypePTR, "NOTIMP"},
	} {
		m, err := byLibrary(t.Context(), r, records.Question{Name: c.name, Type: c.kind})
		if err != nil || told(m) != c.want {
			t.Errorf("%s %s: %v %v, want %s", c.name, dns.Type(c.kind), m, err, c.want)
		}
	}
	odd := "a \"quoted\\ text\x01" + strings.Repeat("x", 300)
	if rr, err := fromTexts(dns.RR_Header{Name: "x.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, txtStrings(odd)); err != nil {
		t.Error(err)
	} else if b, err := (&dns.Msg{Answer: []dns.RR{rr}}).Pack(); err != nil || !strings.Contains(string(b), odd[:200]) {
		t.Errorf("%v: %q", err, b)
	}
	if got := fmt.Sprint(len(txtStrings(strings.Repeat("x", 600)))); got != "3" {
		t.Error(got)
	}
}
