package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func TestUDPFlow(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, netx.MaxDatagram)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo([]byte(strconv.Itoa(n)), from)
		}
	}()
	port := netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
	r := newRig(t, Options{}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	st := r.open(tunnel.UDP, "dns.test", port, "")
	for _, size := range []int{5, 0, 1200, 9000} {
		if _, err := st.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := st.Read(buf)
		if err != nil || string(buf[:n]) != strconv.Itoa(size) {
			t.Fatalf("%d bytes: %q, %v", size, buf[:n], err)
		}
	}
	_ = st.CloseWrite()
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	if code, _ := r.code(tunnel.TCP, "dns.test", port); code != tunnel.Denied {
		t.Errorf("over TCP: %v", code)
	}
}

func TestUDPExpires(t *testing.T) {
	r := newRig(t, Options{UDPIdle: 20 * time.Millisecond}, `[{"host": "127.0.0.1", "ports": [9], "protocols": ["udp"], "as": "dns.test"}]`)
	st := r.open(tunnel.UDP, "dns.test", 9, "")
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
}

// A target that refuses the first datagram refuses the flow, so that the program hears
// of it.
func TestUDPIsRefused(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
	pc.Close()
	r := newRig(t, Options{}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	st := r.open(tunnel.UDP, "dns.test", port, "")
	_, _ = st.Write([]byte("nobody hears"))
	_, err = st.Answer(t.Context())
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.Refused {
		t.Errorf("answered with %v", err)
	}
	if r.g.Status().Resources[0].LastFail == nil {
		t.Error("the refusal is not noted")
	}
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
}

// A target that has answered may restart: the program hears of the refusal, and the
// exchange goes on.
func TestUDPSurvivesARefusal(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr().String()
	port := netip.MustParseAddrPort(at).Port()
	r := newRig(t, Options{}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	st := r.open(tunnel.UDP, "dns.test", port, "")
	_, _ = st.Write([]byte("hello"))
	buf := make([]byte, 20)
	_ = pc.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, from, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = pc.WriteTo([]byte("hello"), from)
	if n, err := st.Read(buf); err != nil || n != 5 {
		t.Fatal(n, err)
	}
	pc.Close()
	_, _ = st.Write([]byte("nobody hears"))
	_ = st.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := st.Read(buf); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("after the refusal the program reads: %v", err)
	}
	r.wait("the refusal", func(s Status) bool { return s.Resources[0].LastFail != nil })
	if pc, err = net.ListenPacket("udp", at); err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, _ = st.Write([]byte("now"))
	_ = pc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "now" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestLookup(t *testing.T) {
	resolver := &dialtest.Names{Answers: map[string][]any{
		"a.corp.test": {[]string{"10.0.0.1", "127.0.0.1", "fd00::1"}}, "lo.corp.test": {[]string{"127.0.0.1"}},
	}}
	r := newRig(t, Options{Dial: dial.Options{Resolver: resolver}}, `[
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

// Exchanges that are silent hold no buffers.
func TestSilentExchangesAreSmall(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	port := netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
	r := newRig(t, Options{}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	measure := func() int64 {
		runtime.GC()
		runtime.GC() // empties the pools
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := measure()
	const exchanges = 200
	buf := make([]byte, netx.MaxDatagram)
	for range exchanges {
		st := r.open(tunnel.UDP, "dns.test", port, "")
		if _, err := st.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, from, err := pc.ReadFrom(buf); err != nil {
			t.Fatal(err)
		} else if _, err := pc.WriteTo([]byte("y"), from); err != nil {
			t.Fatal(err)
		}
		if n, err := st.Read(buf); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	// Both ends of the tunnel are in this process.
	if each := (measure() - before) / exchanges; each > 48<<10 {
		t.Errorf("a silent exchange takes %d KiB", each>>10)
	}
}

// Exchanges from many source ports never fail: old ones give way, answered ones first.
func TestManyExchanges(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) != "wait" {
				_, _ = pc.WriteTo(buf[:n], from)
			}
		}
	}()
	port := netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
	r := newRig(t, Options{MaxFlows: 40}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, port))
	waiting := r.open(tunnel.UDP, "dns.test", port, "")
	if _, err := waiting.Write([]byte("wait")); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		st := r.open(tunnel.UDP, "dns.test", port, "")
		if _, err := st.Write([]byte("hello")); err != nil {
			t.Fatal(i, err)
		}
		if n, err := st.Read(make([]byte, 10)); err != nil || n != 5 {
			t.Fatalf("exchange %d: %d, %v", i, n, err)
		}
		if s := r.g.Status(); s.Flows > 40 {
			t.Fatalf("%d flows", s.Flows)
		}
	}
	// The one that still waits for its answer has its place.
	if _, err := waiting.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := waiting.Read(make([]byte, 10)); err != nil || n != 5 {
		t.Errorf("the one that waited: %d, %v", n, err)
	}
}
