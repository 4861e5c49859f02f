package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

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

// The links may be lost between a request and its answer: the target must not
// be kept waiting for what has come with the request.
func TestEarlyDataNeedsNoWayBack(t *testing.T) {
	heard := make(chan string, 1)
	port := serve(t, func(c *net.TCPConn) {
		got := make([]byte, 5)
		_, _ = io.ReadFull(c, got)
		heard <- string(got)
		_, _ = io.WriteString(c, "late")
	})
	back := new(sync.Mutex)
	capture, gateway := tunneltest.PairOver(t, func(c net.Conn) net.Conn { return gated{c, back} })
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			back.Lock()
		}
		return c, err
	}
	r := newRigOver(t, Options{Dial: dial.Options{Dial: connect}}, `[`+loopbackAs("svc.test", port)+`]`, capture, gateway)
	st := r.open(tunnel.TCP, "svc.test", port, "early")
	select {
	case got := <-heard:
		if got != "early" {
			t.Errorf("the target heard %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the target heard nothing")
	}
	back.Unlock()
	if _, err := st.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 4)); err != nil {
		t.Error(err)
	}
}

// gated is a connection whose writes wait while gate is locked.
type gated struct {
	net.Conn
	gate *sync.Mutex
}

func (g gated) Write(p []byte) (int, error) {
	g.gate.Lock()
	defer g.gate.Unlock()
	return g.Conn.Write(p)
}

func TestServerReset(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) })
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	st := r.open(tunnel.TCP, "svc.test", port, "x")
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// A server may reset a connection before the dialler has looked at it.
func TestServerResetsAtOnce(t *testing.T) {
	n := &dialtest.Net{Hosts: map[string]any{"10.0.0.2": dialtest.SysError(syscall.ECONNRESET)}}
	r := newRig(t, Options{Dial: dial.Options{Dial: n.Dial}}, `[{"host": "10.0.0.2", "ports": [80]}]`)
	st := r.open(tunnel.TCP, "10.0.0.2", 80, "")
	if _, err := st.Answer(t.Context()); err != nil {
		t.Errorf("answer: %v, want connected", err)
	}
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func TestAnswers(t *testing.T) {
	closed := closedPort(t)
	own := serve(t, echo)
	n := &dialtest.Net{Hosts: map[string]any{
		"10.0.0.2": dialtest.SysError(syscall.EHOSTUNREACH), "10.0.0.3": dialtest.SysError(syscall.ENETUNREACH), "10.0.0.4": nil, "10.0.0.5": nil,
		"10.0.0.9": dialtest.SysError(syscall.ECONNREFUSED),
	}}
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "127.") {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return n.Dial(ctx, network, address)
	}
	resolver := &dialtest.Names{Answers: map[string][]any{
		"lo.corp.test": {[]string{"127.0.0.1"}}, "meta.corp.test": {[]string{"169.254.169.254"}}, "mix.corp.test": {[]string{"127.0.0.1", "10.0.0.9"}},
		"servfail.corp.test": {&net.DNSError{Err: "server misbehaving", IsTemporary: true}}, "slow.corp.test": {[]string{"10.0.0.8"}},
	}}
	r := newRig(t, Options{Dial: dial.Options{Dial: connect, Resolver: resolver, OwnPorts: []uint16{own}, Timeout: 200 * time.Millisecond}}, fmt.Sprintf(`[
		{"host": "*.corp.test", "ports": ["1-65535"]}, {"host": "0.0.0.0/0", "ports": ["1-65535"]}, {"host": "::/0", "ports": ["1-65535"]},
		{"host": "localhost", "ports": [%d, %d], "as": "laptop.test"},
	]`, closed, own))
	asked := func() int { resolver.Mu.Lock(); defer resolver.Mu.Unlock(); return len(resolver.Asked) }
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
	n := &dialtest.Net{} // never answers
	r := newRig(t, Options{Dial: dial.Options{Dial: n.Dial, Timeout: 5 * time.Second}, MaxFlows: 3}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	for range 3 {
		r.open(tunnel.TCP, "10.0.0.1", 80, "")
	}
	r.wait("three flows", func(s Status) bool { return s.Flows == 3 && s.Resources[0].Flows == 3 })
	if code, reason := r.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
}

func TestDialLimits(t *testing.T) {
	n := &dialtest.Net{}
	r := newRig(t, Options{Dial: dial.Options{Dial: n.Dial, Timeout: 10 * time.Second}, MaxDials: 1}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	r.open(tunnel.TCP, "10.0.0.1", 80, "")
	r.wait("a dial", func(Status) bool { return r.g.dials.InUse() == 1 })
	if code, reason := r.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
	slow := newRig(t, Options{Dial: dial.Options{Dial: n.Dial}, DialRate: 0.1}, `[{"host": "10.0.0.0/8", "ports": [80]}]`)
	slow.open(tunnel.TCP, "10.0.0.1", 80, "")
	slow.wait("a dial", func(Status) bool { return slow.g.dials.InUse() == 1 })
	if code, reason := slow.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Overloaded {
		t.Errorf("%v %s", code, reason)
	}
}

func TestFlowsLapse(t *testing.T) {
	port := serve(t, echo)
	n := &dialtest.Net{}
	r := newRig(t, Options{Dial: dial.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "10.") {
			return n.Dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}, `[`+loopbackAs("a.test", port)+`,`+loopbackAs("b.test", port)+`, {"host": "10.0.0.1", "ports": [80]}]`)
	var open [2]*tunnel.Stream
	for i, host := range []string{"a.test", "b.test"} {
		open[i] = r.open(tunnel.TCP, host, port, "x")
		if _, err := io.ReadFull(open[i], make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	dialling := r.open(tunnel.TCP, "10.0.0.1", 80, "")
	r.wait("three flows", func(s Status) bool {
		c := s.Resources[0].Clients
		return s.Flows == 3 && len(c) == 1 && c[0].Flows == 1
	})
	r.wait("a dial", func(Status) bool { return r.g.dials.InUse() == 1 })

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
