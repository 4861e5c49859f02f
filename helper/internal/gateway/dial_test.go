package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a Resolver whose n-th answer for a name is the n-th of the list,
// the last one again and again.
type names struct {
	mu      sync.Mutex
	answers map[string][]any // []string of addresses, or an error
	asked   []string
}

func (n *names) LookupNetIP(_ context.Context, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, name)
	list := n.answers[name]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(list) > 1 {
		n.answers[name] = list[1:]
	}
	if err, ok := list[0].(error); ok {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range list[0].([]string) {
		out = append(out, addr(s))
	}
	return out, nil
}

// fakeNet answers dials: an error, nil for a connection, or a time after which
// it connects.
type fakeNet struct {
	mu     sync.Mutex
	hosts  map[string]any
	dialed []string
	conns  []net.Conn
}

func (n *fakeNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.mu.Lock()
	n.dialed = append(n.dialed, host)
	behaviour, ok := n.hosts[host]
	n.mu.Unlock()
	if !ok {
		behaviour = time.Hour
	}
	switch b := behaviour.(type) {
	case error:
		return nil, b
	case time.Duration:
		select {
		case <-time.After(b):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	a, b := net.Pipe()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, b)
	return a, nil
}

func newDialer(n *fakeNet, r Resolver) *dialer {
	return &dialer{
		system: ownWay{dial: n.dial, Resolver: r}, timeout: 15 * time.Second,
		interfaces: func() ([]netip.Prefix, error) { return machine.own, nil },
	}
}

func match(t testing.TB, src, host string, port uint16) resource.Match {
	t.Helper()
	m, err := resource.NewSet(mustParse(t, src)).Match(resource.TCP, host, port)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sysError(e syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connect: %w", e)}
}

func TestHappyEyeballs(t *testing.T) {
	refused, noRoute := sysError(syscall.ECONNREFUSED), sysError(syscall.ENETUNREACH)
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
		"host unreachable":      {[]string{"fd00::1"}, map[string]any{"fd00::1": sysError(syscall.EHOSTUNREACH)}, "", tunnel.HostUnreachable, 0, 1},
		"forbidden":             {[]string{"fd00::1"}, map[string]any{"fd00::1": sysError(syscall.EPERM)}, "", tunnel.Failed, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &fakeNet{hosts: c.hosts}
				d := newDialer(n, &names{answers: map[string][]any{"a.test": {c.addrs}}})
				start := time.Now()
				to, err := d.open(t.Context(), resource.TCP, match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80))
				took := time.Since(start)
				d.attempts.Wait()
				if took != c.took || len(n.dialed) != c.dialed {
					t.Errorf("took %v, dialled %v; want %v, %d", took, n.dialed, c.took, c.dialed)
				}
				if c.winner == "" {
					e, ok := errors.AsType[*tunnel.Error](err)
					if !ok || e.Code != c.code {
						t.Errorf("error %v, want %v", err, c.code)
					}
					return
				}
				if err != nil || to.addr.String() != c.winner {
					t.Fatalf("%v, %v; want %s", to.addr, err, c.winner)
				}
				to.conn.Close()
				for _, conn := range n.conns {
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
		for a := addr("10.0.0.1"); len(addrs) < 100; a = a.Next() {
			addrs = append(addrs, a.String())
		}
		n := &fakeNet{}
		d := newDialer(n, &names{answers: map[string][]any{"a.test": {addrs}}})
		start := time.Now()
		_, err := d.open(t.Context(), resource.TCP, match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80))
		if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.TimedOut {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("took %v", took)
		}
		d.attempts.Wait()
		if len(n.dialed) != maxAddresses {
			t.Errorf("dialled %d", len(n.dialed))
		}
	})
}

func TestLateConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{hosts: map[string]any{"10.0.0.2": nil}}
		d := newDialer(n, &names{answers: map[string][]any{"a.test": {[]string{"10.0.0.1", "10.0.0.2"}}}})
		// The first dial does not heed its context and connects after the race.
		d.system = ownWay{Resolver: d.system, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "10.0.0.1:80" {
				time.Sleep(time.Second)
				a, b := net.Pipe()
				n.mu.Lock()
				n.conns = append(n.conns, b)
				n.mu.Unlock()
				return a, nil
			}
			return n.dial(ctx, network, address)
		}}
		to, err := d.open(t.Context(), resource.TCP, match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80))
		if err != nil || to.addr != addr("10.0.0.2") {
			t.Fatal(to, err)
		}
		d.attempts.Wait()
		if _, err := n.conns[1].Write([]byte("x")); err == nil {
			t.Error("the late connection is still open")
		}
		to.conn.Close()
	})
}

// TestRebinding wants one look-up for a flow, and no address dialled that the
// judge has not seen.
func TestRebinding(t *testing.T) {
	n := &fakeNet{hosts: map[string]any{"10.0.0.1": nil, "127.0.0.1": nil, "169.254.169.254": nil}}
	r := &names{answers: map[string][]any{"a.corp.test": {
		[]string{"10.0.0.1"}, []string{"127.0.0.1"}, []string{"127.0.0.1", "::1", "169.254.169.254", "64:ff9b::7f00:1", "10.0.0.1"},
	}}}
	d := newDialer(n, r)
	m := match(t, `[{"host": "*.corp.test", "ports": [80]}]`, "a.corp.test", 80)
	for i, want := range []tunnel.Code{tunnel.Connected, tunnel.Denied, tunnel.Connected} {
		to, err := d.open(t.Context(), resource.TCP, m)
		if len(r.asked) != i+1 {
			t.Fatalf("asked %v", r.asked)
		}
		if want == tunnel.Connected {
			if err != nil || to.addr != addr("10.0.0.1") {
				t.Fatalf("flow %d: %v, %v", i, to.addr, err)
			}
			to.conn.Close()
		} else if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != want {
			t.Fatalf("flow %d: %v", i, err)
		}
	}
	d.attempts.Wait()
	if slices.ContainsFunc(n.dialed, func(s string) bool { return s != "10.0.0.1" }) {
		t.Errorf("dialled %v", n.dialed)
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
		d := newDialer(&fakeNet{}, &names{answers: map[string][]any{"a.test": {c.err}}})
		_, err := d.open(t.Context(), resource.TCP, match(t, `[{"host": "a.test", "ports": [80]}]`, "a.test", 80))
		if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

func TestNothingIsDialledWithoutInterfaces(t *testing.T) {
	n := &fakeNet{}
	d := newDialer(n, nil)
	d.interfaces = func() ([]netip.Prefix, error) { return nil, errors.New("no netlink") }
	_, err := d.open(t.Context(), resource.TCP, match(t, `[{"host": "10.0.0.0/8", "ports": [80]}]`, "10.0.0.1", 80))
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.Failed || len(n.dialed) > 0 {
		t.Errorf("%v, dialled %v", err, n.dialed)
	}
}

func TestSystemInterfaces(t *testing.T) {
	own, err := netx.Interfaces()
	if err != nil || !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().IsLoopback() }) {
		t.Errorf("%v, %v", own, err)
	}
}

func TestSystemResolver(t *testing.T) {
	addrs, err := SystemResolver{}.LookupNetIP(t.Context(), "localhost")
	if err != nil || !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().IsLoopback() }) {
		t.Errorf("%v, %v", addrs, err)
	}
}
