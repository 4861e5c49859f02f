package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// rig is a gateway that serves one capture.
type rig struct {
	t       *testing.T
	g       *Gateway
	capture *tunnel.Session
	control *peer.Reader
	write   *tunnel.Stream // the control stream
	served  chan error
	changed chan struct{}
	log     *logBuffer
	cancel  context.CancelFunc
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, o Options, resources string) *rig {
	t.Helper()
	r := &rig{t: t, served: make(chan error, 1), changed: make(chan struct{}, 1), log: new(logBuffer)}
	o.Log = zerolog.New(r.log)
	o.OnChange = func() {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	r.g = New(o)
	r.approve(resources)
	capture, gateway := tunneltest.Pair(t)
	r.capture = capture
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.served <- r.g.Serve(ctx, gateway) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.served; err == nil {
			t.Error("Serve ended without a reason")
		}
	})
	st, err := capture.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.write, r.control = st, peer.NewReader(st)
	return r
}

func (r *rig) approve(src string) {
	r.t.Helper()
	var list []Approved
	for _, one := range mustParse(r.t, src) {
		list = append(list, Approved{one, FromUser})
	}
	r.g.SetApproved(list)
}

func (r *rig) published() peer.Publish {
	r.t.Helper()
	var p peer.Publish
	if err := r.control.Read(&p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// wait waits for a state that changes are announced on the way to.
func (r *rig) wait(what string, ok func(Status) bool) {
	r.t.Helper()
	deadline := time.After(5 * time.Second)
	for !ok(r.g.Status()) {
		select {
		case <-r.changed:
		case <-deadline:
			r.t.Fatalf("%s: still %+v", what, r.g.Status())
		}
	}
}

func (r *rig) open(network tunnel.Network, host string, port uint16, early string) *tunnel.Stream {
	r.t.Helper()
	st, err := r.capture.Open(r.t.Context(), tunnel.Request{Target: tunnel.Target{Network: network, Host: host, Port: port}}, []byte(early))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { st.Close() })
	_ = st.SetDeadline(time.Now().Add(10 * time.Second))
	return st
}

func (r *rig) code(network tunnel.Network, host string, port uint16) (tunnel.Code, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	reason, err := r.open(network, host, port, "").Answer(ctx)
	if err == nil {
		return tunnel.Connected, reason
	}
	e, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		r.t.Fatalf("%s:%d: %v", host, port, err)
	}
	return e.Code, e.Reason
}

// serve runs a TCP server on loopback.
func serve(t *testing.T, handle func(*net.TCPConn)) (port uint16) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(c.(*net.TCPConn)) })
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() }

func loopbackAs(name string, port uint16) string {
	return fmt.Sprintf(`{"name": %q, "host": "localhost", "ports": ["%d"], "as": %q}`, name, port, name)
}

func TestTCPFlow(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) {
		got, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "got %s", got)
	})
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	st := r.open(tunnel.TCP, "svc.test", port, "early, ")
	if _, err := st.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	_ = st.CloseWrite()
	if got, err := io.ReadAll(st); err != nil || string(got) != "got early, late" {
		t.Fatalf("read %q, %v", got, err)
	}
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	s := r.g.Status()
	if s.Up != 11 || s.Down != 15 || s.Resources[0].Up != 11 || s.Resources[0].Down != 15 || s.Resources[0].Flows != 0 {
		t.Errorf("%+v", s)
	}
}

func TestServerReset(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) })
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	st := r.open(tunnel.TCP, "svc.test", port, "x")
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func closedPort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

func TestAnswers(t *testing.T) {
	closed := closedPort(t)
	own := serve(t, echo)
	n := &fakeNet{hosts: map[string]any{
		"10.0.0.2": sysError(syscall.EHOSTUNREACH), "10.0.0.3": sysError(syscall.ENETUNREACH), "10.0.0.4": nil, "10.0.0.5": nil,
		"10.0.0.9": sysError(syscall.ECONNREFUSED),
	}}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "127.") {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return n.dial(ctx, network, address)
	}
	resolver := &names{answers: map[string][]any{
		"lo.corp.test": {[]string{"127.0.0.1"}}, "meta.corp.test": {[]string{"169.254.169.254"}}, "mix.corp.test": {[]string{"127.0.0.1", "10.0.0.9"}},
		"servfail.corp.test": {&net.DNSError{Err: "server misbehaving", IsTemporary: true}}, "slow.corp.test": {[]string{"10.0.0.8"}},
	}}
	r := newRig(t, Options{Dial: dial, Resolver: resolver, OwnPorts: []uint16{own}, DialTimeout: 200 * time.Millisecond}, fmt.Sprintf(`[
		{"host": "*.corp.test", "ports": ["1-65535"]}, {"host": "0.0.0.0/0", "ports": ["1-65535"]}, {"host": "::/0", "ports": ["1-65535"]},
		{"host": "localhost", "ports": [%d, %d], "as": "laptop.test"},
	]`, closed, own))
	asked := func() int { resolver.mu.Lock(); defer resolver.mu.Unlock(); return len(resolver.asked) }
	for _, c := range []struct {
		host   string
		port   uint16
		code   tunnel.Code
		reason string
	}{
		{"laptop.test", closed, tunnel.Refused, "refused"},
		{"laptop.test", own, tunnel.Denied, "Causeway itself"},
		{"laptop.test", 1, tunnel.Denied, "does not list tcp port 1"},
		{"10.0.0.2", 80, tunnel.HostUnreachable, "route"},
		{"10.0.0.3", 80, tunnel.NetUnreachable, "unreachable"},
		{"10.0.0.8", 80, tunnel.TimedOut, ""},
		{"slow.corp.test", 80, tunnel.TimedOut, ""},
		{"gone.corp.test", 80, tunnel.NoSuchName, "gone.corp.test"},
		{"servfail.corp.test", 80, tunnel.ResolveFailed, "misbehaving"},
		{"lo.corp.test", 80, tunnel.Denied, "loopback"},
		{"lo.corp.test", own, tunnel.Denied, "Causeway itself"},
		{"meta.corp.test", 80, tunnel.Denied, "metadata"},
		{"mix.corp.test", 80, tunnel.Refused, ""},
		{"corp.test", 80, tunnel.Denied, "no approved resource"},
		{"other.test", 80, tunnel.Denied, "no approved resource"},
		{"10.0.0.4", 0, tunnel.Denied, "port 0"},
		{"127.0.0.1", own, tunnel.Denied, "Causeway itself"},
		{"127.0.0.1", closed, tunnel.Denied, "loopback"},
		{"::ffff:127.0.0.1", closed, tunnel.Denied, "loopback"},
		{"::ffff:7f00:1", closed, tunnel.Denied, "loopback"},
		{"0.0.0.0", closed, tunnel.Denied, "this machine"},
		{"::1", closed, tunnel.Denied, "loopback"},
		{"64:ff9b::7f00:1", closed, tunnel.Denied, "loopback"},
		{"169.254.169.254", 80, tunnel.Denied, "metadata"},
		{"fe80::1%lo", 80, tunnel.Denied, "zone"},
		{"127.1", 80, tunnel.Denied, "usual spelling"},
		{"0x7f000001", 80, tunnel.Denied, "usual spelling"},
		{"localhost", closed, tunnel.Denied, "no approved resource"},
		{"", 80, tunnel.Denied, "empty"},
		{"\x1b[31m.corp.test", 80, tunnel.Denied, "cannot contain"},
	} {
		if code, reason := r.code(tunnel.TCP, c.host, c.port); code != c.code || !strings.Contains(reason, c.reason) {
			t.Errorf("%q port %d: %v %q, want %v %q", c.host, c.port, code, reason, c.code, c.reason)
		}
	}
	before := asked()
	r.code(tunnel.TCP, "not.ours.test", 80)
	if asked() != before {
		t.Error("a name that no resource names was resolved")
	}
	s := r.g.Status()
	if fail := s.Resources[3].LastFail; fail == nil || fail.Code != tunnel.Denied || fail.Time.IsZero() {
		t.Errorf("last failure of localhost: %+v", fail)
	}
	if log := r.log.String(); !strings.Contains(log, `"flow refused"`) || strings.Contains(log, "\x1b") {
		t.Errorf("log: %s", log)
	}
}

func TestRefusalsAreLoggedAtABoundedRate(t *testing.T) {
	r := newRig(t, Options{}, `[]`)
	for range 200 {
		if code, _ := r.code(tunnel.TCP, "x.test", 80); code != tunnel.Denied {
			t.Fatal(code)
		}
	}
	r.cancel()
	err := <-r.served
	r.served <- err
	log := r.log.String()
	if n := strings.Count(log, `"flow refused"`); n == 0 || n > 40 {
		t.Errorf("%d refusals in the log", n)
	}
	if !strings.Contains(log, `"suppressed":`) {
		t.Errorf("nothing says how many were left out: %s", log)
	}
}

func TestLimits(t *testing.T) {
	n := &fakeNet{} // never answers
	r := newRig(t, Options{Dial: n.dial, MaxFlows: 3, DialTimeout: 5 * time.Second}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	for range 3 {
		r.open(tunnel.TCP, "10.0.0.1", 80, "")
	}
	r.wait("three flows", func(s Status) bool { return s.Flows == 3 && s.Resources[0].Flows == 3 })
	if code, reason := r.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
}

func TestDialLimits(t *testing.T) {
	n := &fakeNet{}
	r := newRig(t, Options{Dial: n.dial, MaxDials: 1, DialTimeout: 10 * time.Second}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	r.open(tunnel.TCP, "10.0.0.1", 80, "")
	r.wait("a dial", func(Status) bool { return len(r.g.dials) == 1 })
	if code, reason := r.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
	slow := newRig(t, Options{Dial: n.dial, DialRate: 0.1}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	slow.open(tunnel.TCP, "10.0.0.1", 80, "")
	slow.wait("a dial", func(Status) bool { return len(slow.g.dials) == 1 })
	if code, reason := slow.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
}

func TestFlowsLapse(t *testing.T) {
	port := serve(t, echo)
	n := &fakeNet{}
	r := newRig(t, Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "10.") {
			return n.dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}, `[`+loopbackAs("a.test", port)+`,`+loopbackAs("b.test", port)+`, {"host": "10.0.0.1", "ports": [80]}]`)
	var open [2]*tunnel.Stream
	for i, host := range []string{"a.test", "b.test"} {
		open[i] = r.open(tunnel.TCP, host, port, "x")
		if _, err := io.ReadFull(open[i], make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	dialling := r.open(tunnel.TCP, "10.0.0.1", 80, "")
	r.wait("three flows", func(s Status) bool { return s.Flows == 3 })
	r.wait("a dial", func(Status) bool { return len(r.g.dials) == 1 })

	r.approve(`[` + strings.Replace(loopbackAs("b.test", port), `"ports": [`, `"ports": [9, `, 1) + `]`) // b is kept, and widened
	if _, err := open[0].Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a: %v, want a reset", err)
	}
	if _, err := dialling.Answer(t.Context()); err == nil || !strings.Contains(err.Error(), "no longer approved") {
		t.Errorf("dialling: %v", err)
	}
	if _, err := open[1].Write([]byte("y")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(open[1], make([]byte, 1)); err != nil {
		t.Errorf("b: %v", err)
	}
	r.wait("one flow", func(s Status) bool { return s.Flows == 1 && s.Resources[0].Flows == 1 && s.Resources[0].Up == 2 })
}

func TestUDPFlow(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo([]byte(strconv.Itoa(n)), from)
		}
	}()
	port := netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
	r := newRig(t, Options{UDPIdle: 50 * time.Millisecond}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	st := r.open(tunnel.UDP, "dns.test", port, "")
	for _, size := range []int{5, 0, 1200, 20000} {
		if _, err := st.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := st.Read(buf)
		if err != nil || string(buf[:n]) != strconv.Itoa(size) {
			t.Fatalf("%d bytes: %q, %v", size, buf[:n], err)
		}
	}
	if _, err := st.Read(make([]byte, 1)); err == nil {
		t.Error("the exchange does not expire")
	}
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	if code, _ := r.code(tunnel.TCP, "dns.test", port); code != tunnel.Denied {
		t.Errorf("over TCP: %v", code)
	}
}

func TestUDPSurvivesARefusal(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr().String()
	pc.Close()
	port := netip.MustParseAddrPort(at).Port()
	r := newRig(t, Options{}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	st := r.open(tunnel.UDP, "dns.test", port, "")
	if _, err := st.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = st.Write([]byte("nobody hears"))
	for deadline := time.Now().Add(5 * time.Second); r.g.Status().Resources[0].LastFail == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the refusal is not noted")
		}
	}
	if pc, err = net.ListenPacket("udp", at); err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, _ = st.Write([]byte("now"))
	_ = pc.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 10)
	if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "now" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestLookup(t *testing.T) {
	resolver := &names{answers: map[string][]any{
		"a.corp.test": {[]string{"10.0.0.1", "127.0.0.1", "fd00::1"}}, "lo.corp.test": {[]string{"127.0.0.1"}},
	}}
	r := newRig(t, Options{Resolver: resolver}, `[
		{"host": "*.corp.test", "ports": [80]}, {"host": "10.9.9.9", "ports": [80], "as": "printer.test"},
		{"host": "localhost", "ports": [80], "as": "laptop.test"}, {"host": "10.0.0.0/8", "ports": [80]},
	]`)
	for host, want := range map[string]struct {
		code   tunnel.Code
		reason string
	}{
		"A.corp.test.": {tunnel.Connected, "10.0.0.1,fd00::1"}, "printer.test": {tunnel.Connected, "10.9.9.9"},
		"lo.corp.test": {tunnel.Denied, ""}, "gone.corp.test": {tunnel.NoSuchName, ""}, "laptop.test": {tunnel.Denied, ""},
		"corp.test": {tunnel.Denied, ""}, "10.0.0.1": {tunnel.Denied, ""}, "localhost": {tunnel.Denied, ""},
	} {
		code, reason := r.code(tunnel.Lookup, host, 0)
		if code != want.code || want.reason != "" && reason != want.reason {
			t.Errorf("%s: %v %q, want %v %q", host, code, reason, want.code, want.reason)
		}
	}
}

func TestPublishAndReport(t *testing.T) {
	r := newRig(t, Options{StrictProxy: true}, `[{"name": "db", "host": "db.test", "ports": ["15432:5432", "80-90"]}]`)
	want := peer.Publish{StrictProxy: true, Resources: []peer.Published{{
		Name: "db", Host: "db.test", Ports: []peer.PublishedPort{{First: 80, Last: 90}, {First: 15432, Last: 15432}}, Protocols: []string{"tcp"},
	}}}
	got := r.published()
	if d := cmp.Diff(len(want.Resources[0].Ports), len(got.Resources[0].Ports)); d != "" || got.Resources[0].Name != "db" || !got.StrictProxy {
		t.Error(got)
	}
	r.approve(`[]`)
	if got := r.published(); len(got.Resources) != 0 {
		t.Errorf("after the list was emptied: %+v", got)
	}
	r.approve(`[{"name": "db", "host": "db.test", "ports": [1]}]`)
	hostile := peer.Report{
		Proxy: "127.0.0.1:1080\x1b[2J", Notes: make([]string, 1000),
		Names: []peer.NameReport{{Name: "db", Address: "127.1.2.3", Served: []string{"db.test:1\u202e"}, Trouble: strings.Repeat("é", 5000)}, {Name: "other"}},
	}
	if err := peer.Write(r.write, hostile); err != nil {
		t.Fatal(err)
	}
	r.wait("the report", func(s Status) bool { return s.Proxy != "" })
	s := r.g.Status()
	db := s.Resources[0]
	if strings.ContainsAny(s.Proxy+db.Served[0], "\x1b\u202e") || len(s.Notes) != maxNotes || len(db.Trouble) > 2*maxShown || db.Address != "127.1.2.3" {
		t.Errorf("%+v", s)
	}
}

func TestGarbageOnTheControlStreamEndsTheSession(t *testing.T) {
	r := newRig(t, Options{}, `[]`)
	if _, err := r.write.Write([]byte("{]\n")); err != nil {
		t.Fatal(err)
	}
	err := <-r.served
	r.served <- err
	if err == nil || !strings.Contains(err.Error(), "report of the remote") {
		t.Errorf("Serve: %v", err)
	}
}

func TestTooMuchToPublish(t *testing.T) {
	var list []Approved
	for i := range 100 {
		one := resource.Resource{Name: strconv.Itoa(i), Host: resource.Host{Name: strconv.Itoa(i) + ".test"}, Protocols: []resource.Network{resource.TCP}}
		for p := range uint16(1024) {
			one.Ports = append(one.Ports, resource.Ports{First: 2*p + 1, Last: 2*p + 1})
		}
		list = append(list, Approved{one, FromUser})
	}
	g := New(Options{})
	g.SetApproved(list)
	var b bytes.Buffer
	if err := peer.Write(&b, g.published()); err != nil {
		t.Error(err)
	}
}

func TestSessionEndsWithItsFlows(t *testing.T) {
	port := serve(t, echo)
	r := newRig(t, Options{}, `[`+loopbackAs("a.test", port)+`]`)
	st := r.open(tunnel.TCP, "a.test", port, "x")
	if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = r.capture.Close()
	err := <-r.served
	r.served <- err
	if s := r.g.Status(); s.Flows != 0 || s.Resources[0].Flows != 0 {
		t.Errorf("%+v", s)
	}
}

// TestApprovalsChangeUnderLoad shakes SetApproved against flows that begin and end.
func TestApprovalsChangeUnderLoad(t *testing.T) {
	port := serve(t, echo)
	with := `[` + loopbackAs("a.test", port) + `]`
	r := newRig(t, Options{}, with)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				st, err := r.capture.Open(t.Context(), tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: "a.test", Port: port}}, []byte("x"))
				if err != nil {
					t.Error(err)
					return
				}
				_ = st.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = st.Read(make([]byte, 1))
				if errors.Is(err, context.DeadlineExceeded) || netTimeout(err) {
					t.Errorf("read: %v", err)
				}
				st.Close()
			}
		})
	}
	for range 20 {
		r.approve(`[]`)
		r.g.Status()
		r.approve(with)
	}
	r.approve(`[]`)
	cancel()
	wg.Wait()
	r.wait("no flow", func(s Status) bool { return s.Flows == 0 })
}

func netTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"proxy":"127.0.0.1:1","names":[{"name":"x","served":["proxy"],"trouble":"\u001b"}],"notes":["n"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in peer.Report
		if peer.NewReader(bytes.NewReader(append(b, '\n'))).Read(&in) != nil {
			return
		}
		out := cleanReport(in)
		all := append([]string{out.proxy}, out.notes...)
		for _, n := range out.names {
			all = append(append(all, n.Address, n.Trouble), n.Served...)
		}
		for _, s := range all {
			if strings.TrimSuffix(s, "…") != tunnel.Clean(strings.TrimSuffix(s, "…")) {
				t.Fatalf("%q is not clean", s)
			}
		}
	})
}

var _ netx.DialFunc = (*fakeNet)(nil).dial
