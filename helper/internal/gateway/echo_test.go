package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// fakePing answers for 10.0.0.1 and fd00::1 alone.
func fakePing(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	switch to.String() {
	case "10.0.0.1", "fd00::1":
		return append([]byte("reply to "), data...), nil
	case "10.0.0.2":
		return nil, dialtest.SysError(syscall.EHOSTUNREACH)
	case "fd00::3":
		return nil, dialtest.SysError(syscall.ENETUNREACH)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

const pingable = `[
	{"name": "net", "host": "10.0.0.0/8", "protocols": ["icmp"]},
	{"name": "net6", "host": "fd00::/16", "ports": [80], "protocols": ["icmp", "tcp"]},
	{"name": "web", "host": "12.0.0.1", "ports": [80]},
	{"name": "both", "host": "both.test", "protocols": ["icmp"]},
	{"name": "bound", "host": "bound.test", "protocols": ["icmp"]},
	{"name": "far", "host": "10.8.0.0/16", "protocols": ["icmp"], "exit": "office"}
]`

func TestEcho(t *testing.T) {
	resolver := &dialtest.Names{Answers: map[string][]any{
		"both.test": {[]string{"fd00::3", "10.0.0.1"}}, "bound.test": {[]string{"127.0.0.1"}},
	}}
	r := newRig(t, Options{Dial: dial.Options{Ping: fakePing, Resolver: resolver}}, pingable)
	r.g.SetExits(map[string]dial.Exit{"office": noPings{Resolver: resolver}}) // which has no Ping
	for _, host := range []string{"10.0.0.1", "fd00::1", "both.test"} {
		for _, data := range []string{"", "data", strings.Repeat("long", 10000)} {
			st := r.open(tunnel.Echo, host, 0, "")
			_, _ = io.WriteString(st, data)
			_ = st.CloseWrite()
			if _, err := st.Answer(t.Context()); err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			if got, err := io.ReadAll(st); err != nil || string(got) != "reply to "+data {
				t.Errorf("%s: got %d bytes, %v", host, len(got), err)
			}
		}
	}
	for host, want := range map[string]tunnel.Code{
		"10.0.0.2": tunnel.HostUnreachable, "fd00::3": tunnel.NetUnreachable, "12.0.0.1": tunnel.Denied,
		"11.0.0.1": tunnel.Denied, "bound.test": tunnel.Denied, "gone.test": tunnel.Denied, "127.0.0.1": tunnel.Denied, "10.8.0.1": tunnel.Denied,
	} {
		st := r.open(tunnel.Echo, host, 0, "data")
		_ = st.CloseWrite()
		_, err := st.Answer(t.Context())
		if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != want {
			t.Errorf("%s: %v, want %v", host, err, want)
		}
	}
	if code, _ := r.code(tunnel.TCP, "10.0.0.1", 80); code != tunnel.Denied {
		t.Errorf("a resource of pings let a connection through: %v", code)
	}
}

// A ping ends when its resource is no longer approved.
func TestEchoLapses(t *testing.T) {
	r := newRig(t, Options{Dial: dial.Options{Ping: fakePing}}, pingable)
	st := r.open(tunnel.Echo, "10.0.0.9", 0, "data")
	_ = st.CloseWrite()
	r.wait("the ping under way", func(s Status) bool { return s.Resources[0].Up > 0 })
	r.approve("[]")
	if _, err := st.Answer(t.Context()); err == nil || !strings.Contains(err.Error(), "no longer approved") {
		t.Errorf("%v", err)
	}
}

func TestEchoesAreBounded(t *testing.T) {
	var now, most atomic.Int32
	ping := func(ctx context.Context, _ netip.Addr, _ []byte) ([]byte, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := newRig(t, Options{Dial: dial.Options{Ping: ping}}, pingable)
	var all []*tunnel.Stream
	for range maxEchoes + 20 {
		st := r.open(tunnel.Echo, "10.0.0.9", 0, "data")
		_ = st.CloseWrite()
		all = append(all, st)
	}
	overloaded := 0
	for _, st := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := st.Answer(ctx)
		cancel()
		if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Code == tunnel.Overloaded {
			overloaded++
		}
	}
	if most.Load() > maxEchoes || overloaded == 0 {
		t.Errorf("%d at a time, %d were lost", most.Load(), overloaded)
	}
}

// noPings is an exit that only finds addresses.
type noPings struct {
	dial.Resolver
	dial.Records
}

func (noPings) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no connections")
}
