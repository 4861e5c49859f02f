//go:build linux

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNames gives addresses in the order of look-up.
type fakeNames struct {
	mu    sync.Mutex
	names []string
	byDNS bool
	six   bool // names have addresses of IPv6
}

func (f *fakeNames) Address6(name string) (netip.Addr, error) {
	if !f.six {
		return netip.Addr{}, nil
	}
	a, err := f.Address(name)
	if err != nil {
		return a, err
	}
	b := netip.MustParseAddr("fd09::").As16()
	b[15] = a.As4()[3]
	return netip.AddrFrom16(b), nil
}

func (f *fakeNames) Address(name string) (netip.Addr, error) {
	if strings.HasPrefix(name, "full.") {
		return netip.Addr{}, errors.New("too many")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, n := range f.names {
		if n == name {
			return netip.AddrFrom4([4]byte{127, 9, 9, byte(i + 1)}), nil
		}
	}
	f.names = append(f.names, name)
	return netip.AddrFrom4([4]byte{127, 9, 9, byte(len(f.names))}), nil
}

func (f *fakeNames) NameOf(a netip.Addr) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Is6() {
		a = netip.AddrFrom4([4]byte{127, 9, 9, a.As16()[15]})
	}
	if b := a.As4(); b[0] == 127 && b[1] == 9 && int(b[3]) <= len(f.names) && b[3] > 0 {
		return f.names[b[3]-1], true
	}
	return "", false
}

func (f *fakeNames) SpareAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 8, byte(os.Getpid()), byte(n + 1)})
}

func (f *fakeNames) FoundByDNS(yes bool) { f.mu.Lock(); f.byDNS = yes; f.mu.Unlock() }

// fakeEditor writes resolv.conf as the real one does, as far as it matters here.
type fakeEditor struct {
	path string
	done chan struct{}
	once sync.Once
}

func (e *fakeEditor) SetResolver(_ context.Context, a netip.Addr) error {
	return os.WriteFile(e.path, fmt.Appendf(nil, "# causeway 1-1 %s\nnameserver %s\n#causeway# nameserver %s\n#causeway# nameserver %s\n", a, a, upstreamA, upstreamB), 0o600)
}

func (e *fakeEditor) ListenUDP(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

func (e *fakeEditor) ListenTCP(context.Context, netip.AddrPort) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
func (e *fakeEditor) Done() <-chan struct{} { return e.done }
func (e *fakeEditor) Err() error            { return errors.New("killed") }
func (e *fakeEditor) Close() error          { e.once.Do(func() { close(e.done) }); return nil }

var (
	upstreamA = netip.AddrFrom4([4]byte{127, 7, byte(os.Getpid()), 1})
	upstreamB = netip.AddrFrom4([4]byte{127, 7, byte(os.Getpid()), 2})
)

// originOf shows in what a flow tells who it was asked of.
func originOf(source string, t tunnel.Target, who owner.Owner) tunnel.Origin {
	return owner.Process{User: who.User, PID: int(who.Inode), Program: t.String()}.Origin(source)
}

type fixture struct {
	t       *testing.T
	s       *Source
	names   *fakeNames
	gateway *tunnel.Session
	editors chan *fakeEditor
	asked   chan tunnel.Request
	port    uint16
}

const soa = "corp.test. 60 IN SOA dns.corp.test. hostmaster.corp.test. 1 2 3 4 5"

// ownSOA is that of what is missing here alone.
func ownSOA(name string) string {
	return name + " 30 IN SOA " + name + " nobody.invalid. 1 3600 1200 604800 30"
}

// answers is what the gateway of the tests says, by name.
var answers = map[string]string{
	"web.corp.test A":            "web.corp.test. 60 IN A 10.0.0.1",
	"six.corp.test AAAA":         "six.corp.test. 60 IN AAAA fd00::1",
	"denied4.corp.test TXT":      `denied4.corp.test. 60 IN TXT "its addresses are denied"`,
	"denied4.wild.corp.test TXT": `denied4.wild.corp.test. 60 IN TXT "its addresses are denied"`,
	"_ldap._tcp.exact.test SRV":  "_ldap._tcp.exact.test. 60 IN SRV 0 0 389 dc.corp.test.",
	"db.wild.corp.test A":        "db.wild.corp.test. 60 IN A 10.0.0.2",
	"six.wild.corp.test AAAA":    "six.wild.corp.test. 60 IN AAAA fd00::2",
	"full.corp.test A":           "full.corp.test. 60 IN A 10.0.0.1",
	"web.corp.test TXT":          `web.corp.test. 60 IN TXT "hello"`,
	"long.corp.test TXT":         `long.corp.test. 60 IN TXT "` + strings.Repeat("x", 250) + `" "` + strings.Repeat("x", 250) + `" "` + strings.Repeat("x", 250) + `"`,
	"brief.corp.test TXT":        `brief.corp.test. 0 IN TXT "zero"`,
}

func start(t *testing.T, tweak func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, names: new(fakeNames), editors: make(chan *fakeEditor, 4), asked: make(chan tunnel.Request, 1000)}
	pc, err := net.ListenPacket("udp4", netip.AddrPortFrom(upstreamA, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	f.port = pc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	_ = pc.Close()
	var capture *tunnel.Session
	capture, f.gateway = tunneltest.Pair(t)
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = f.gateway.Close() })
	serving.Go(func() {
		for {
			st, err := f.gateway.Accept()
			if err != nil {
				return
			}
			f.asked <- st.Request()
			serving.Go(func() { serveQuestion(st) })
		}
	})
	path := filepath.Join(t.TempDir(), "resolv.conf")
	o := Options{
		Gateway: flow.New(flow.Options{Tunnel: capture, Origin: originOf}), Names: f.names, Port: f.port, ResolvPath: path, Retry: 10 * time.Millisecond,
		Covers: func(host string) bool {
			return strings.HasSuffix(host, ".corp.test") || host == "10.0.0.1" || host == "exact.test"
		},
		Exact:    func(name string) bool { return !strings.Contains(name, ".wild.") && name[0] != '_' },
		Check:    func(net.Conn) (owner.Owner, error) { return owner.Owner{User: "dev", Inode: 7}, nil },
		CheckUDP: func(_, _ netip.AddrPort) (owner.Owner, error) { return owner.Owner{User: "dev", Inode: 7}, nil },
		StartEditor: func(context.Context) (Editor, error) {
			e := &fakeEditor{path: path, done: make(chan struct{})}
			f.editors <- e
			return e, nil
		},
	}
	if tweak != nil {
		tweak(&o)
	}
	f.s = New(o)
	t.Cleanup(func() {
		if err := f.s.Close(); err != nil {
			t.Error(err)
		}
	})
	f.s.Apply(true)
	return f
}

// serveQuestion answers as a gateway.
func serveQuestion(st *tunnel.Stream) {
	defer st.Close()
	target := st.Request().Target
	switch {
	case strings.HasPrefix(target.Host, "denied."), strings.HasPrefix(target.Host, "denied4.") && target.Port == dns.TypeA:
		_ = st.Reply(tunnel.Denied, "no")
		return
	case strings.HasPrefix(target.Host, "failed."):
		_ = st.Reply(tunnel.ResolveFailed, "no")
		return
	case strings.HasPrefix(target.Host, "stalled."):
		_, _ = st.Read(make([]byte, 1)) // the end of the question
		ended := make(chan struct{})
		st.OnEnd(func() { close(ended) })
		<-ended
		return
	case strings.HasPrefix(target.Host, "garbage."):
		_ = st.Reply(tunnel.Connected, "")
		_, _ = st.Write([]byte("garbage"))
		_ = st.CloseWrite()
		_, _ = st.Read(make([]byte, 1))
		return
	}
	m := new(dns.Msg)
	if strings.HasPrefix(target.Host, "alias.") { // to what has no address, in another zone
		alias, _ := dns.NewRR("alias.corp.test. 60 IN CNAME x.other.test.")
		rr, _ := dns.NewRR("other.test. 60 IN SOA dns.other.test. hostmaster.other.test. 1 2 3 4 50")
		m.Answer, m.Ns = append(m.Answer, alias), append(m.Ns, rr)
	} else if strings.HasPrefix(target.Host, "chain.") && target.Port == dns.TypeA {
		for _, text := range []string{"Chain.corp.test. 60 IN CNAME two.corp.test.", "three.other.test. 60 IN A 10.0.0.1", "two.corp.test. 60 IN CNAME three.other.test."} {
			rr, _ := dns.NewRR(text)
			m.Answer = append(m.Answer, rr)
		}
	} else if strings.HasPrefix(target.Host, "loop.") && target.Port == dns.TypeA {
		for _, text := range []string{"loop.corp.test. 60 IN CNAME loop.corp.test.", "three.other.test. 60 IN A 10.0.0.1"} {
			rr, _ := dns.NewRR(text)
			m.Answer = append(m.Answer, rr)
		}
	} else if text := answers[target.Host+" "+dns.Type(target.Port).String()]; text != "" {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	} else {
		rr, _ := dns.NewRR(soa)
		m.Ns = append(m.Ns, rr)
		m.Rcode = dns.RcodeNameError
		for known := range answers {
			if strings.HasPrefix(known, target.Host+" ") {
				m.Rcode = dns.RcodeSuccess
			}
		}
	}
	b, _ := m.Pack()
	_ = st.Reply(tunnel.Connected, "")
	_, _ = st.Write(b)
	_ = st.CloseWrite()
	_, _ = st.Read(make([]byte, 1))
}

// upstream runs a nameserver that was there before.
func (f *fixture) upstream(a netip.Addr, handle dns.HandlerFunc) {
	f.t.Helper()
	at := netip.AddrPortFrom(a, f.port).String()
	pc, err := net.ListenPacket("udp4", at)
	if err != nil {
		f.t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", at)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: handle}, {Listener: ln, Handler: handle}} {
		started, done := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { _ = srv.ActivateAndServe(); close(done) }()
		<-started
		f.t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	}
}

// says is a nameserver that has text as TXT of every name.
func says(text string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: 1}, Txt: []string{text}}}
		_ = w.WriteMsg(m)
	}
}

func (f *fixture) query(network, name string, kind uint16) (*dns.Msg, error) {
	c := dns.Client{Net: network, Timeout: 8 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), f.s.at.String())
	return m, err
}

// ask returns the reply in short.
func (f *fixture) ask(network, name string, kind uint16) string {
	f.t.Helper()
	m, err := f.query(network, name, kind)
	if err != nil {
		return err.Error()
	}
	out := dns.RcodeToString[m.Rcode]
	if m.Truncated {
		out += "|truncated"
	}
	for _, rr := range append(m.Answer, m.Ns...) {
		out += "|" + strings.Join(strings.Fields(rr.String()), " ")
	}
	return out
}

func TestAnswers(t *testing.T) {
	f := start(t, nil)
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.corp.test", dns.TypeA, "NOERROR|web.corp.test. 30 IN A 127.9.9.1"},
		{"Web.CORP.test", dns.TypeA, "NOERROR|Web.CORP.test. 30 IN A 127.9.9.1"},
		{"web.corp.test", dns.TypeAAAA, "NOERROR|" + soa},
		{"six.corp.test", dns.TypeA, "NOERROR|six.corp.test. 30 IN A 127.9.9.2"},
		{"six.corp.test", dns.TypeAAAA, "NOERROR|" + ownSOA("six.corp.test.")},
		{"web.corp.test", dns.TypeTXT, `NOERROR|web.corp.test. 60 IN TXT "hello"`},
		{"alias.corp.test", dns.TypeA, "NOERROR|" + ownSOA("alias.corp.test.")},
		{"alias.corp.test", dns.TypeAAAA, "NOERROR|" + ownSOA("alias.corp.test.")},
		{"chain.corp.test", dns.TypeA, "NOERROR|chain.corp.test. 0 IN CNAME two.corp.test.|two.corp.test. 0 IN CNAME three.other.test.|three.other.test. 0 IN A 127.9.9.3"},
		{"loop.corp.test", dns.TypeA, "NOERROR|loop.corp.test. 30 IN A 127.9.9.4"},
		{"gone.corp.test", dns.TypeA, "NXDOMAIN|" + soa},
		{"gone.corp.test", dns.TypeAAAA, "NXDOMAIN|" + soa},
		{"brief.corp.test", dns.TypeA, "NOERROR|" + soa},
		{"denied.corp.test", dns.TypeA, "REFUSED"},
		{"failed.corp.test", dns.TypeTXT, "SERVFAIL"},
		{"garbage.corp.test", dns.TypeTXT, "SERVFAIL"},
		{"full.corp.test", dns.TypeA, "SERVFAIL"},
		{"1.9.9.127.in-addr.arpa", dns.TypePTR, "NOERROR|1.9.9.127.in-addr.arpa. 30 IN PTR web.corp.test."},
		{"1.9.9.127.in-addr.arpa", dns.TypeMX, "NOERROR|" + ownSOA("1.9.9.127.in-addr.arpa.")},
		{"1.0.0.10.in-addr.arpa", dns.TypePTR, "NXDOMAIN|" + soa},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := f.ask(network, c.name, c.kind); got != c.want {
				t.Errorf("%s %s %s: %s, want %s", network, c.name, dns.Type(c.kind), got, c.want)
			}
		}
	}
	if got := f.ask("udp", "long.corp.test", dns.TypeTXT); !strings.HasPrefix(got, "NOERROR|truncated") {
		t.Error(got)
	}
	if got := f.ask("tcp", "long.corp.test", dns.TypeTXT); len(got) < 750 {
		t.Error(got)
	}
	asked := len(f.asked)
	f.ask("udp", "web.corp.test", dns.TypeA)
	if len(f.asked) != asked {
		t.Error("the answer was not kept")
	}
	f.ask("udp", "brief.corp.test", dns.TypeTXT)
	f.ask("udp", "brief.corp.test", dns.TypeTXT)
	if len(f.asked) != asked+2 {
		t.Error("an answer without lifetime was kept")
	}
	f.s.Apply(true)
	f.ask("udp", "web.corp.test", dns.TypeA)
	if len(f.asked) != asked+3 {
		t.Error("the answer outlived what is published")
	}
	if r := <-f.asked; r.Origin != originOf("dns", r.Target, owner.Owner{User: "dev", Inode: 7}) {
		t.Errorf("%+v", r)
	}
}

func TestAnswersByIPv6(t *testing.T) {
	f := start(t, func(o *Options) { o.Names.(*fakeNames).six = true })
	reverse6, err := dns.ReverseAddr("fd09::1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"six.corp.test", dns.TypeAAAA, "NOERROR|six.corp.test. 30 IN AAAA fd09::1"},
		{"six.corp.test", dns.TypeA, "NOERROR|six.corp.test. 30 IN A 127.9.9.1"},
		{"web.corp.test", dns.TypeAAAA, "NOERROR|" + soa}, // it has none
		{reverse6, dns.TypePTR, "NOERROR|" + reverse6 + " 30 IN PTR six.corp.test."},
	} {
		if got := f.ask("udp", c.name, c.kind); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, dns.Type(c.kind), got, c.want)
		}
	}
}

func TestTheRestGoesToTheNameservers(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, says("public"))
	for _, network := range []string{"udp", "tcp"} {
		if got := f.ask(network, "example.test", dns.TypeTXT); got != `NOERROR|example.test. 0 IN TXT "public"` {
			t.Errorf("%s: %s", network, got)
		}
	}
	// Two kinds of question on one connection, as it comes.
	c, err := dns.Dial("tcp", f.s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"example.test.", "web.corp.test.", "other.test."} {
		if err := c.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	for range 3 {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		got[m.Answer[0].String()] = true
	}
	if len(got) != 3 {
		t.Error(got)
	}
	// What is no question is not ours to judge.
	raw, err := net.Dial("udp", f.s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = raw.Write([]byte("x"))
	_, _ = raw.Write([]byte("something that is no query at all"))
	if got := f.ask("udp", "example.test", dns.TypeTXT); !strings.HasPrefix(got, "NOERROR") {
		t.Error(got)
	}
}

func TestTheNextNameserverIsAsked(t *testing.T) {
	f := start(t, nil)
	if got := f.ask("udp", "example.test", dns.TypeTXT); got != "SERVFAIL" {
		t.Errorf("without nameservers: %s", got)
	}
	if got := f.ask("tcp", "example.test", dns.TypeTXT); got != "SERVFAIL" {
		t.Errorf("without nameservers: %s", got)
	}
	f.upstream(upstreamB, says("second"))
	const want = `NOERROR|example.test. 0 IN TXT "second"`
	for _, network := range []string{"udp", "tcp"} {
		if got := f.ask(network, "example.test", dns.TypeTXT); got != want {
			t.Errorf("the first is not there: %s", got)
		}
	}
	var rcode atomic.Int32 // of the first; 0: it is silent
	f.upstream(upstreamA, func(w dns.ResponseWriter, q *dns.Msg) {
		if code := int(rcode.Load()); code != 0 {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(q, code))
		}
	})
	begin := time.Now()
	if got := f.ask("udp", "example.test", dns.TypeTXT); got != want || time.Since(begin) > 2*time.Second {
		t.Errorf("the first is silent: %s after %s", got, time.Since(begin))
	}
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented} { // as glibc does
		rcode.Store(int32(code))
		begin := time.Now()
		if got := f.ask("udp", "example.test", dns.TypeTXT); got != want || time.Since(begin) > nextTime {
			t.Errorf("the first says %s: %s after %s", dns.RcodeToString[code], got, time.Since(begin))
		}
	}
	rcode.Store(dns.RcodeNameError) // which is an answer
	if got := f.ask("udp", "example.test", dns.TypeTXT); got != "NXDOMAIN" {
		t.Errorf("the first says NXDOMAIN: %s", got)
	}
}

// If every nameserver refuses, the client gets the first refusal.
func TestEveryNameserverRefuses(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused)) })
	f.upstream(upstreamB, func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
	})
	if got := f.ask("udp", "example.test", dns.TypeTXT); got != "REFUSED" {
		t.Error(got)
	}
}

func TestStrangersGetWhatTheNameserversSay(t *testing.T) {
	f := start(t, func(o *Options) {
		o.Check = func(net.Conn) (owner.Owner, error) { return owner.Owner{}, owner.ErrStranger }
		o.CheckUDP = func(_, _ netip.AddrPort) (owner.Owner, error) { return owner.Owner{}, owner.ErrStranger }
	})
	f.upstream(upstreamA, says("public"))
	for _, network := range []string{"udp", "tcp"} {
		if got := f.ask(network, "web.corp.test", dns.TypeTXT); got != `NOERROR|web.corp.test. 0 IN TXT "public"` {
			t.Errorf("%s: %s", network, got)
		}
	}
	if len(f.asked) != 0 {
		t.Error("the gateway was asked")
	}
}

// A stranger's question must not reach the stub of another capture as ours.
func TestStrangersAreNotPassedToAnotherStub(t *testing.T) {
	var allowed atomic.Bool
	check := func() (owner.Owner, error) {
		if !allowed.Load() {
			return owner.Owner{}, owner.ErrStranger
		}
		return owner.Owner{}, nil
	}
	f := start(t, func(o *Options) {
		o.Check = func(net.Conn) (owner.Owner, error) { return check() }
		o.CheckUDP = func(_, _ netip.AddrPort) (owner.Owner, error) { return check() }
	})
	f.upstream(upstreamA, says("public"))
	f.upstream(upstreamB, says("other stub"))
	own := f.s.at.Addr()
	content := fmt.Appendf(nil, "# causeway 1-1 %s\n# causeway 2-2 %s\nnameserver %s\n#causeway# nameserver %s\n", own, upstreamB, own, upstreamA)
	if err := os.WriteFile(f.s.o.ResolvPath, content, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond) // as often as the file is looked at
	for _, network := range []string{"udp", "tcp"} {
		for _, want := range []string{"public", "other stub"} {
			allowed.Store(want != "public")
			if got := f.ask(network, "example.test", dns.TypeTXT); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s", network, got, want)
			}
		}
	}
}

// A tunnel that is gone is a failure of private names alone.
func TestWithoutTunnel(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, says("public"))
	_ = f.gateway.Close()
	begin := time.Now()
	if got := f.ask("udp", "web.corp.test", dns.TypeA); got != "SERVFAIL" {
		t.Error(got)
	}
	if got := f.ask("udp", "example.test", dns.TypeTXT); !strings.HasPrefix(got, "NOERROR") || time.Since(begin) > 2*time.Second {
		t.Errorf("%s after %s", got, time.Since(begin))
	}
}

// Nameservers that are silent keep the names of resources from nobody, whatever
// strangers ask them for.
func TestSilentNameserversHoldUpNothing(t *testing.T) {
	for _, name := range []string{"example.test.", "web.corp.test."} {
		t.Run(name, func(t *testing.T) {
			var stranger atomic.Uint32 // its port
			f := start(t, func(o *Options) {
				o.CheckUDP = func(_, from netip.AddrPort) (owner.Owner, error) {
					if uint32(from.Port()) == stranger.Load() {
						return owner.Owner{}, owner.ErrStranger
					}
					return owner.Owner{User: "dev", Inode: 7}, nil
				}
			})
			f.upstream(upstreamA, func(dns.ResponseWriter, *dns.Msg) {})
			f.upstream(upstreamB, func(dns.ResponseWriter, *dns.Msg) {})
			c, err := net.Dial("udp", f.s.at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			stranger.Store(uint32(c.LocalAddr().(*net.UDPAddr).Port))
			b, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(5 * time.Second); len(f.s.others) < maxQuestions && len(f.s.own) < maxQuestions; {
				if _, _ = c.Write(b); time.Now().After(end) {
					t.Fatalf("only %d questions are waiting", len(f.s.others))
				}
				time.Sleep(100 * time.Microsecond) // no more than the socket holds
			}
			begin := time.Now()
			if got := f.ask("udp", "web.corp.test", dns.TypeTXT); !strings.HasPrefix(got, "NOERROR") || time.Since(begin) > 2*time.Second {
				t.Errorf("%s after %s", got, time.Since(begin))
			}
		})
	}
}

// A link that stands still is a clear failure before clients give up, which is
// after 5 s.
func TestStalledTunnel(t *testing.T) {
	f := start(t, nil)
	begin := time.Now()
	if got := f.ask("udp", "stalled.corp.test", dns.TypeTXT); got != "SERVFAIL" || time.Since(begin) > 4500*time.Millisecond {
		t.Errorf("%s after %s", got, time.Since(begin))
	}
}

func TestEDNS(t *testing.T) {
	f := start(t, nil)
	q := new(dns.Msg).SetQuestion("long.corp.test.", dns.TypeTXT)
	q.SetEdns0(4096, false)
	c := dns.Client{UDPSize: 4096}
	m, _, err := c.Exchange(q, f.s.at.String())
	if err != nil || m.IsEdns0() == nil || m.Truncated {
		t.Errorf("%v %v", m, err)
	}
	q.IsEdns0().SetVersion(1)
	if m, _, err = c.Exchange(q, f.s.at.String()); err != nil || m.Rcode != dns.RcodeBadVers {
		t.Errorf("%v %v", m, err)
	}
}

func TestEditorDies(t *testing.T) {
	f := start(t, nil)
	(<-f.editors).Close()
	second := <-f.editors
	if got := f.ask("udp", "web.corp.test", dns.TypeA); !strings.HasPrefix(got, "NOERROR") {
		t.Error(got)
	}
	second.Close()
	for end := time.Now().Add(5 * time.Second); f.s.Note() == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no word about it")
		}
	}
	if f.names.byDNS || !strings.Contains(f.s.Note(), "killed") {
		t.Errorf("%v %q", f.names.byDNS, f.s.Note())
	}
}

func TestNoEditor(t *testing.T) {
	f := start(t, func(o *Options) {
		o.StartEditor = func(context.Context) (Editor, error) { return nil, errors.New("resolv.conf is left alone") }
	})
	if note := f.s.Note(); !strings.HasPrefix(note, "resolv.conf is left alone: ") || f.names.byDNS {
		t.Errorf("%q", note)
	}
	f.s.Apply(false)
	if f.s.Note() != "" {
		t.Error("a word about what nobody wants")
	}
}

func TestTwoCapturesShareAPort(t *testing.T) {
	a := start(t, nil)
	b := start(t, func(o *Options) { o.Port = a.port })
	if !b.s.at.IsValid() || b.s.at == a.s.at {
		t.Errorf("%v %v", a.s.at, b.s.at)
	}
}

func FuzzAnswer(f *testing.F) {
	rr, err := dns.NewRR(soa)
	if err != nil {
		f.Fatal(err)
	}
	b, err := (&dns.Msg{Ns: []dns.RR{rr}, Answer: []dns.RR{rr}}).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseAnswer(b)
		if err != nil {
			return
		}
		_ = records.Lifetime(m)
		query := new(dns.Msg).SetQuestion("web.corp.test.", dns.TypeTXT)
		reply := new(dns.Msg).SetReply(query)
		reply.Rcode, reply.Answer, reply.Ns = m.Rcode, m.Answer, m.Ns
		reply.Truncate(dns.MinMsgSize)
		if b := pack(reply); len(b) == 0 || len(b) > 4*dns.MinMsgSize {
			t.Fatalf("a reply of %d bytes", len(b))
		}
	})
}

func FuzzQuery(f *testing.F) {
	b, err := new(dns.Msg).SetQuestion("web.corp.test.", dns.TypeA).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	s := &Source{o: Options{Names: new(fakeNames), Covers: func(host string) bool { return strings.HasSuffix(host, ".corp.test") }}}
	f.Fuzz(func(t *testing.T, b []byte) {
		query, q, ours := s.parse(b)
		if ours && (len(query.Question) != 1 || q.Name == "") {
			t.Fatalf("%v", query)
		}
		_ = failed(b)
	})
}
