package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/gateway/judge"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newDialer(n *dialtest.Net, r Resolver) *Dialer {
	d := New(Options{Dial: n.Dial, Interfaces: dialtest.Interfaces})
	d.system = ownWay{dial: n.Dial, Resolver: r}
	return d
}

func TestHappyEyeballs(t *testing.T) {
	refused, noRoute := dialtest.SysError(syscall.ECONNREFUSED), dialtest.SysError(syscall.ENETUNREACH)
	for name, c := range map[string]struct {
		addrs  []string
		hosts  map[string]any
		winner string
		code   tunnel.Code
		took   time.Duration
		dialed int
	}{
		"first answers":         {[]string{"10.0.0.1", "10.0.0.2"}, map[string]any{"10.0.0.1": nil}, "10.0.0.1", 0, 0, 1},
		"first is slow":         {[]string{"fd00::1", "10.0.0.1"}, map[string]any{"fd00::1": 100 * time.Millisecond, "10.0.0.1": nil}, "fd00::1", 0, 100 * time.Millisecond, 1},
		"first hangs":           {[]string{"fd00::1", "10.0.0.1"}, map[string]any{"10.0.0.1": nil}, "10.0.0.1", 0, 250 * time.Millisecond, 2},
		"families alternate":    {[]string{"fd00::1", "fd00::2", "10.0.0.1"}, map[string]any{"10.0.0.1": nil}, "10.0.0.1", 0, 250 * time.Millisecond, 2},
		"first fails":           {[]string{"fd00::1", "10.0.0.1"}, map[string]any{"fd00::1": noRoute, "10.0.0.1": nil}, "10.0.0.1", 0, 0, 2},
		"the slower one wins":   {[]string{"fd00::1", "10.0.0.1"}, map[string]any{"fd00::1": 300 * time.Millisecond, "10.0.0.1": time.Second}, "fd00::1", 0, 300 * time.Millisecond, 2},
		"refused tells more":    {[]string{"fd00::1", "10.0.0.1", "fd00::2"}, map[string]any{"fd00::1": noRoute, "10.0.0.1": refused, "fd00::2": noRoute}, "", tunnel.Refused, 0, 3},
		"one attempt times out": {[]string{"10.0.0.1"}, nil, "", tunnel.TimedOut, attemptTimeout, 1},
		"no route":              {[]string{"fd00::1"}, map[string]any{"fd00::1": noRoute}, "", tunnel.NetUnreachable, 0, 1},
		"host unreachable":      {[]string{"fd00::1"}, map[string]any{"fd00::1": dialtest.SysError(syscall.EHOSTUNREACH)}, "", tunnel.HostUnreachable, 0, 1},
		"forbidden":             {[]string{"fd00::1"}, map[string]any{"fd00::1": dialtest.SysError(syscall.EPERM)}, "", tunnel.Failed, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &dialtest.Net{Hosts: c.hosts}
				d := newDialer(n, &dialtest.Names{Answers: map[string][]any{"a.test": {c.addrs}}})
				start := time.Now()
				to, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80), nil)
				took := time.Since(start)
				d.attempts.Wait()
				if took != c.took || len(n.Dialed) != c.dialed {
					t.Errorf("took %v, dialled %v; want %v, %d", took, n.Dialed, c.took, c.dialed)
				}
				if c.winner == "" {
					e, ok := errors.AsType[*tunnel.Error](err)
					if !ok || e.Code != c.code {
						t.Errorf("error %v, want %v", err, c.code)
					}
					return
				}
				if err != nil || to.Addr.String() != c.winner {
					t.Fatalf("%v, %v; want %s", to.Addr, err, c.winner)
				}
				to.Close()
				for _, conn := range n.Conns {
					// The losers were closed.
					_ = conn.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := conn.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) {
						t.Error("a connection was left open")
					}
				}
			})
		})
	}
}

func TestTotalTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var addrs []string
		for a := netip.MustParseAddr("10.0.0.1"); len(addrs) < 100; a = a.Next() {
			addrs = append(addrs, a.String())
		}
		n := &dialtest.Net{}
		d := newDialer(n, &dialtest.Names{Answers: map[string][]any{"a.test": {addrs}}})
		start := time.Now()
		_, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80), nil)
		if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.TimedOut {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("took %v", took)
		}
		d.attempts.Wait()
		if len(n.Dialed) != judge.MaxAddresses {
			t.Errorf("dialled %d", len(n.Dialed))
		}
	})
}

func TestLateConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &dialtest.Net{Hosts: map[string]any{"10.0.0.2": nil}}
		d := newDialer(n, &dialtest.Names{Answers: map[string][]any{"a.test": {[]string{"10.0.0.1", "10.0.0.2"}}}})
		// The first dial does not heed its context and connects after the race.
		d.system = ownWay{Resolver: d.system, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "10.0.0.1:80" {
				time.Sleep(time.Second)
				a, b := net.Pipe()
				n.Mu.Lock()
				n.Conns = append(n.Conns, b)
				n.Mu.Unlock()
				return a, nil
			}
			return n.Dial(ctx, network, address)
		}}
		to, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80), nil)
		if err != nil || to.Addr != netip.MustParseAddr("10.0.0.2") {
			t.Fatal(to, err)
		}
		d.attempts.Wait()
		if _, err := n.Conns[1].Write([]byte("x")); err == nil {
			t.Error("the late connection is still open")
		}
		to.Close()
	})
}

// TestRebinding wants one look-up for a flow, and no address dialled that the
// judge has not seen.
func TestRebinding(t *testing.T) {
	n := &dialtest.Net{Hosts: map[string]any{"10.0.0.1": nil, "127.0.0.1": nil, "169.254.169.254": nil}}
	r := &dialtest.Names{Answers: map[string][]any{"a.corp.test": {
		[]string{"10.0.0.1"}, []string{"127.0.0.1"}, []string{"127.0.0.1", "::1", "169.254.169.254", "64:ff9b::7f00:1", "10.0.0.1"},
	}}}
	d := newDialer(n, r)
	m := dialtest.Match(t, `[{"host": "*.corp.test", "ports": [80]}]`, "a.corp.test", 80)
	for i, want := range []tunnel.Code{tunnel.Connected, tunnel.Denied, tunnel.Connected} {
		to, err := d.Open(t.Context(), resource.TCP, m, nil)
		if len(r.Asked) != i+1 {
			t.Fatalf("asked %v", r.Asked)
		}
		if want == tunnel.Connected {
			if err != nil || to.Addr != netip.MustParseAddr("10.0.0.1") {
				t.Fatalf("flow %d: %v, %v", i, to.Addr, err)
			}
			to.Close()
		} else if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != want {
			t.Fatalf("flow %d: %v", i, err)
		}
	}
	d.attempts.Wait()
	if slices.ContainsFunc(n.Dialed, func(s string) bool { return s != "10.0.0.1" }) {
		t.Errorf("dialled %v", n.Dialed)
	}
}

func TestResolveErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code tunnel.Code
	}{
		"no such name": {&net.DNSError{Err: "no such host", IsNotFound: true}, tunnel.NoSuchName},
		"servfail":     {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, tunnel.ResolveFailed},
		"timeout":      {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, tunnel.ResolveFailed},
		"deadline":     {context.DeadlineExceeded, tunnel.ResolveFailed},
		"other":        {errors.New("odd"), tunnel.ResolveFailed},
	} {
		d := newDialer(&dialtest.Net{}, &dialtest.Names{Answers: map[string][]any{"a.test": {c.err}}})
		_, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80), nil)
		if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

func TestNothingIsDialledWithoutInterfaces(t *testing.T) {
	n := &dialtest.Net{}
	d := newDialer(n, nil)
	d.interfaces = func() ([]netip.Prefix, error) { return nil, errors.New("no netlink") }
	_, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "10.0.0.0/8", "ports": [80]}]`, "10.0.0.1", 80), nil)
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.Failed || len(n.Dialed) > 0 {
		t.Errorf("%v, dialled %v", err, n.Dialed)
	}
}

func TestSystemInterfaces(t *testing.T) {
	own, err := netx.Interfaces()
	if err != nil || !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().IsLoopback() }) {
		t.Errorf("%v, %v", own, err)
	}
}

func TestSystemResolver(t *testing.T) {
	addrs, err := new(SystemResolver).LookupNetIP(t.Context(), "localhost")
	if err != nil || !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().IsLoopback() }) {
		t.Errorf("%v, %v", addrs, err)
	}
}

// lateNames is a resolver that finds IPv6 addresses only if it is asked for them.
type lateNames struct {
	dialtest.Names
	late []netip.Addr
}

func (l *lateNames) LookupIPv6(context.Context, string) ([]netip.Addr, error) { return l.late, nil }

// IPv6 addresses that come late are dialled if IPv4 does not lead anywhere, and judged
// as any.
func TestLateAddressesAreDialled(t *testing.T) {
	noRoute := dialtest.SysError(syscall.ENETUNREACH)
	for name, c := range map[string]struct {
		hosts map[string]any
		late  string
		want  string
	}{
		"no route by IPv4": {map[string]any{"10.0.0.1": noRoute, "fd00::1": nil}, "fd00::1", "fd00::1"},
		"refused by IPv4":  {map[string]any{"10.0.0.1": dialtest.SysError(syscall.ECONNREFUSED), "fd00::1": nil}, "fd00::1", "connection refused"},
		"not allowed":      {map[string]any{"10.0.0.1": noRoute, "::1": nil}, "::1", "network unreachable"},
	} {
		n := &dialtest.Net{Hosts: c.hosts}
		d := newDialer(n, &lateNames{dialtest.Names{Answers: map[string][]any{"a.test": {[]string{"10.0.0.1"}}}}, []netip.Addr{netip.MustParseAddr(c.late)}})
		to, err := d.Open(t.Context(), resource.TCP, dialtest.Match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80), nil)
		got := fmt.Sprint(err)
		if err == nil {
			got = to.Addr.String()
			to.Close()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
