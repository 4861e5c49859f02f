package exit

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crypto/ecdh"
	"crypto/rand"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is what an exit has of a machine that knows a few names.
type machine struct {
	names       func(name string) []netip.Addr
	credentials map[string]resource.Credentials
}

func (m machine) LookupNetIP(_ context.Context, name string) ([]netip.Addr, error) {
	return m.names(name), nil
}

func (machine) Query(context.Context, records.Question) (*dns.Msg, error) {
	return nil, errors.New("no records")
}

func (m machine) Credentials(proxy string) (resource.Credentials, bool) {
	c, ok := m.credentials[proxy]
	return c, ok
}

type key struct{ private, public []byte }

func newKey(t *testing.T) key {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k.Bytes(), k.PublicKey().Bytes()}
}

// office is a WireGuard peer at 10.9.0.1 that echoes TCP and UDP at port 7, sends
// without end at port 19, and has a name server.
func office(t *testing.T, own, peer key) (port uint16) {
	t.Helper()
	tun, stack, err := netstack.CreateNetTUN([]netip.Addr{netip.MustParseAddr("10.9.0.1")}, nil, 1420)
	if err != nil {
		t.Fatal(err)
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(dev.Close)
	if err := errors.Join(dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nallowed_ip=10.9.0.2/32\n",
		hex.EncodeToString(own.private), hex.EncodeToString(peer.public))), dev.Up()); err != nil {
		t.Fatal(err)
	}
	ln, err := stack.ListenTCP(&net.TCPAddr{Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	flood, err := stack.ListenTCP(&net.TCPAddr{Port: 19})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := flood.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for b := make([]byte, 16<<10); ; {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	u, err := stack.ListenUDP(&net.UDPAddr{Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(b[:n], from)
		}
	}()
	serveOfficeNames(t, stack)
	state, _ := dev.IpcGet()
	for line := range strings.SplitSeq(state, "\n") {
		_, _ = fmt.Sscanf(line, "listen_port=%d", &port)
	}
	return port
}

func profileFile(t *testing.T, own key, peer []byte, port uint16) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "office.conf")
	text := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = 10.9.0.2/24\nDNS = 10.9.0.1\n\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.0/24\nEndpoint = 127.0.0.1:%d\n",
		base64.StdEncoding.EncodeToString(own.private), base64.StdEncoding.EncodeToString(peer), port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWireGuard(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	port := office(t, far, near)
	e := New(resource.Exit{Type: resource.WireGuard, File: profileFile(t, near, far.public, port)}, nil, zerolog.Nop())
	defer e.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, network := range []string{"tcp", "udp"} {
		c, err := e.Dial(ctx, network, "10.9.0.1:7")
		if err != nil {
			t.Fatal(network, err)
		}
		b := make([]byte, 5)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(network, err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatal(network, string(b), err)
		}
		_ = c.Close()
	}
	wantCode(t, e, "10.9.0.1:8", tunnel.Refused)
	wantCode(t, e, "10.8.0.1:7", tunnel.HostUnreachable) // no peer has it
	_ = e.Close()
	if _, err := e.Dial(ctx, "tcp", "10.9.0.1:7"); !errors.Is(err, net.ErrClosed) {
		t.Error("after Close:", err)
	}
}

// TestWireGuardPing pings the peer, many times at once, and what is not there.
func TestWireGuardPing(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	port := office(t, far, near)
	w := newWireGuard(profileFile(t, near, far.public, port), nil, zerolog.Nop())
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, []int{0, 56, 8000}[i%3])
			got, err := w.Ping(ctx, netip.MustParseAddr("10.9.0.1"), data)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d: %v", len(got), len(data), err)
			}
		})
	}
	all.Wait()
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if got, err := w.Ping(short, netip.MustParseAddr("10.9.0.99"), []byte("data")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers %q, %v", got, err)
	}
	_, err := w.Ping(ctx, netip.MustParseAddr("fd09::1"), nil)
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.NetUnreachable {
		t.Errorf("IPv6: %v", err)
	}
}

func TestWireGuardWrongKey(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	port := office(t, far, near)
	e := New(resource.Exit{Type: resource.WireGuard, File: profileFile(t, near, newKey(t).public, port)}, nil, zerolog.Nop())
	defer e.Close()
	start := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { wantCode(t, e, "10.9.0.1:7", tunnel.TimedOut) })
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Error("took", took)
	}
}

func wantCode(t *testing.T, e Exit, address string, code tunnel.Code) {
	t.Helper()
	_, err := e.Dial(t.Context(), "tcp", address)
	answer, ok := errors.AsType[*tunnel.Error](err)
	if !ok || answer.Code != code {
		t.Errorf("%s: %v, want %v", address, err, code)
	}
}

func TestProfileMistakes(t *testing.T) {
	t.Parallel()
	k := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for text, want := range map[string]string{
		"":                               "no PrivateKey",
		"x = y":                          "line 1",
		"[Interface]\nPrivateKey = abc":  "line 2: a key is 32 bytes",
		"[Interface]\nPostUp = rm -rf /": "line 2: postup is refused",
		"[Interface]\nMTU = 9":           "line 2",
		"[Interface]\nPrivateKey=" + k + "\nAddress=10.0.0.1\n[Peer]\n": "line 4: [Peer] has no PublicKey",
		"[Peer]\nEndpoint = host": "line 2",
		"[Office]":                "line 1",
	} {
		if _, err := parseProfile([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add([]byte("[Interface]\nPrivateKey = AAAA\nAddress = 10.0.0.1/24\n[Peer]\nAllowedIPs = ::/0, 0.0.0.0/0\nEndpoint = [::1]:51820"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseProfile(b) })
}

// serveOfficeNames answers for office.test, and lies for lie.office.test.
func serveOfficeNames(t *testing.T, stack *netstack.Net) {
	t.Helper()
	zone := map[string]string{}
	for _, line := range []string{
		"inside.office.test. 60 IN A 10.9.0.1", "inside.office.test. 60 IN AAAA fd09::1", `inside.office.test. 60 IN TXT "hello"`,
		"inside.office.test. 60 IN SRV 1 2 3 inside.office.test.", "big.office.test. 60 IN TXT " + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 8),
	} {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		zone[rr.Header().Name+dns.TypeToString[rr.Header().Rrtype]] = line
	}
	handle := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		if line := zone[name+dns.TypeToString[q.Question[0].Qtype]]; line != "" {
			rr, _ := dns.NewRR(line)
			m.Answer = append(m.Answer, rr)
		} else if name != "inside.office.test." {
			m.Rcode = map[string]int{"refused.office.test.": dns.RcodeRefused}[name]
			if m.Rcode == 0 {
				m.Rcode = dns.RcodeNameError
			}
		}
		if _, isUDP := w.RemoteAddr().(*net.UDPAddr); isUDP {
			m.Truncate(1232)
		}
		_ = w.WriteMsg(m)
	})
	pc, err := stack.ListenUDP(&net.UDPAddr{Port: 53})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := stack.ListenTCP(&net.TCPAddr{Port: 53})
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: handle}, {Listener: ln, Handler: handle}} {
		started, done := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { _ = srv.ActivateAndServe(); close(done) }()
		<-started
		t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	}
}

// TestWireGuardRecords asks for records of several types through the tunnel.
func TestWireGuardRecords(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	port := office(t, far, near)
	e := New(resource.Exit{Type: resource.WireGuard, File: profileFile(t, near, far.public, port)}, nil, zerolog.Nop())
	defer e.Close()
	for q, want := range map[records.Question]string{
		{Name: "inside.office.test", Type: dns.TypeTXT}: `NOERROR "hello"`,
		{Name: "inside.office.test", Type: dns.TypeSRV}: "NOERROR 1 2 3 inside.office.test.",
		{Name: "inside.office.test", Type: dns.TypeMX}:  "NOERROR",
		{Name: "gone.office.test", Type: dns.TypeTXT}:   "NXDOMAIN",
		{Name: "refused.office.test", Type: dns.TypeA}:  "REFUSED",
	} {
		m, err := e.Query(t.Context(), q)
		if err != nil {
			t.Errorf("%v: %v", q, err)
			continue
		}
		got := dns.RcodeToString[m.Rcode]
		for _, rr := range m.Answer {
			got += " " + strings.TrimPrefix(rr.String(), rr.Header().String())
		}
		if got != want {
			t.Errorf("%v: %s, want %s", q, got, want)
		}
	}
	if m, err := e.Query(t.Context(), records.Question{Name: "big.office.test", Type: dns.TypeTXT}); err != nil || len(m.Answer) != 1 {
		t.Errorf("a long answer: %v, %v", m, err)
	}
	if got, err := e.LookupNetIP(t.Context(), "inside.office.test"); err != nil || fmt.Sprint(got) != "[10.9.0.1 fd09::1]" {
		t.Errorf("%v, %v", got, err)
	}
	_, err := e.LookupNetIP(t.Context(), "gone.office.test")
	if failure, ok := errors.AsType[*net.DNSError](err); !ok || !failure.IsNotFound {
		t.Errorf("gone: %v", err)
	}
	if _, err := e.LookupNetIP(t.Context(), "refused.office.test"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("refused: %v", err)
	}
}

// TestWireGuardDNSBeyond has name servers that the tunnel does not lead to: they
// are not asked, and if there are no others, that is the answer.
func TestWireGuardDNSBeyond(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	port := office(t, far, near)
	for list, want := range map[string]string{
		"192.0.2.53, 10.9.0.1, fd09::53": "",
		"192.0.2.53, fd09::53": "DNS server 192.0.2.53 is outside every peer's AllowedIPs, so the tunnel does not lead to it: add 192.0.2.53/32 there; " +
			"DNS server fd09::53 cannot be asked without an Address of its family in [Interface]",
		"office.test": "it has no DNS",
	} {
		t.Run(list, func(t *testing.T) {
			t.Parallel()
			file := profileFile(t, near, far.public, port)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.NewReplacer("DNS = 10.9.0.1", "DNS = "+list, "AllowedIPs = ", "AllowedIPs = fd09::/64, ").Replace(string(text))
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			e := newWireGuard(file, nil, zerolog.New(&log))
			defer e.Close()
			got, err := e.LookupNetIP(t.Context(), "inside.office.test")
			if want == "" {
				if err != nil || fmt.Sprint(got) != "[10.9.0.1 fd09::1]" {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			if answer, ok := errors.AsType[*tunnel.Error](err); !ok || answer.Code != tunnel.ResolveFailed || !strings.HasSuffix(answer.Reason, ": "+want) {
				t.Errorf("%v, %v", got, err)
			}
			_ = e.Close()
			if warned := strings.Contains(log.String(), "DNS servers that are not asked"); warned != strings.Contains(list, "192") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	const outside = "DNS server 192.0.2.53 is outside every peer's AllowedIPs, so the tunnel does not lead to it: add 192.0.2.53/32 there"
	for dnsLine, want := range map[string]string{
		"DNS = 10.9.0.1":             "[] <nil>",
		"DNS = 10.9.0.1, 192.0.2.53": "[" + outside + "] <nil>",
		"DNS = 192.0.2.53":           "[] " + outside,
		"":                           "[it has no DNS, so it reaches addresses but no names] <nil>",
		"DNS":                        `[] line 4: not of the form "Key = value"`,
	} {
		file := profileFile(t, k, k.public, 1)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), "DNS = 10.9.0.1", dnsLine, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		limits, err := Check(resource.Exit{Type: resource.WireGuard, File: file})
		if got := fmt.Sprint(limits, " ", err); got != want {
			t.Errorf("%q: %s, want %s", dnsLine, got, want)
		}
	}
	if _, err := Check(resource.Exit{Type: resource.WireGuard, File: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func (w *wireGuard) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up != nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// echoed says whether a connection to port 7 lives.
func echoed(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// TestWireGuardIdle: a device that nobody uses goes down, and comes up when it
// is needed again.
func TestWireGuardIdle(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	w := newWireGuard(profileFile(t, near, far.public, office(t, far, near)), nil, zerolog.Nop())
	w.idle, w.look = 100*time.Millisecond, 5*time.Millisecond
	defer w.Close()
	for _, network := range []string{"tcp", "udp"} {
		c, err := w.Dial(t.Context(), network, "10.9.0.1:7")
		if err != nil {
			t.Fatal(network, err)
		}
		time.Sleep(3 * w.idle) // it must not go down meanwhile
		if err := echoed(c); err != nil || !w.isUp() {
			t.Fatalf("%s: a connection that is open and silent: %v", network, err)
		}
		_ = c.Close()
		_ = c.Close()
		eventually(t, network+": the device stays up", func() bool { return !w.isUp() })
	}
	if _, err := w.Query(t.Context(), records.Question{Name: "inside.office.test", Type: dns.TypeA}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device stays up after a question", func() bool { return !w.isUp() })
	wantCode(t, w, "10.9.0.1:8", tunnel.Refused)
	eventually(t, "the device stays up after a failure", func() bool { return !w.isUp() })
}

// A peer that was there and is silent now is told apart from a target that is.
func TestWireGuardSilentPeer(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	w := newWireGuard(profileFile(t, near, far.public, office(t, far, near)), nil, zerolog.Nop())
	defer w.Close()
	for silence, want := range map[time.Duration]string{time.Hour: "deadline exceeded", time.Millisecond: "no WireGuard peer has answered for"} {
		w.silence = silence
		if _, _, err := w.use(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := w.Dial(ctx, "tcp", "10.9.0.77:7") // which nobody has
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A peer that is silent by now ends a dial, with that for a reason, before a
// target would; one that answers does not.
func TestWireGuardFallsSilent(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprint(silent), func(t *testing.T) {
			t.Parallel()
			near, far := newKey(t), newKey(t)
			way := relay(t, "127.0.0.1:0", office(t, far, near))
			w := newWireGuard(profileFile(t, near, far.public, way.LocalAddr().(*net.UDPAddr).AddrPort().Port()), nil, zerolog.Nop())
			defer w.Close()
			if _, release, err := w.use(t.Context()); err != nil {
				t.Fatal(err)
			} else {
				defer release()
			}
			want, limit := "deadline exceeded", proofLimit+2*time.Second
			if silent {
				want, limit = "the WireGuard peer does not answer any more", time.Minute
				_ = way.Close()
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := w.Dial(ctx, "tcp", "10.9.0.77:7"); err == nil || !strings.Contains(err.Error(), want) { // which nobody has
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

func TestPeerOf(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	p := profile{peers: []wgPeer{
		{public: "all", allowed: prefixes("0.0.0.0/0", "10.1.0.0/16")}, {public: "ten", allowed: prefixes("10.0.0.0/8", "fd00::/8")}, {public: "last", allowed: prefixes("10.1.0.0/16")},
	}}
	for a, want := range map[string]string{"192.0.2.1": "all", "10.2.0.1": "ten", "10.1.0.1": "last", "fd09::1": "ten", "2001:db8::1": ""} {
		if got, ok := p.peerOf(netip.MustParseAddr(a)); got.public != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", a, got.public, want)
		}
	}
}

// relay passes datagrams between whoever asks at an address and port 127.0.0.1:to
// until it is closed.
func relay(t *testing.T, at string, to uint16) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket("udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	in := pc.(*net.UDPConn)
	out, err := new(net.Dialer).DialContext(t.Context(), "udp4", fmt.Sprintf("127.0.0.1:%d", to))
	if err != nil {
		t.Fatal(err)
	}
	var asker atomic.Pointer[netip.AddrPort]
	var wg sync.WaitGroup
	t.Cleanup(func() { in.Close(); out.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := in.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			asker.Store(&from)
			_, _ = out.Write(b[:n])
		}
	})
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, err := out.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if from := asker.Load(); err == nil && from != nil {
				_, _ = in.WriteToUDPAddrPort(b[:n], *from)
			}
		}
	})
	return in
}

// TestWireGuardFollowsItsName: a peer that has moved is found by its name, and
// what is open goes on. This machine's own moves are WireGuard's to follow.
func TestWireGuardFollowsItsName(t *testing.T) {
	t.Parallel()
	near, far := newKey(t), newKey(t)
	inside := office(t, far, near)
	first := relay(t, "127.0.0.1:0", inside)
	port := first.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	var at atomic.Pointer[netip.Addr]
	move := func(a string) { addr := netip.MustParseAddr(a); at.Store(&addr) }
	move("127.0.0.1")
	file := profileFile(t, near, far.public, port)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("Endpoint = 127.0.0.1"), []byte("Endpoint = vpn.office.test"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWireGuard(file, machine{names: func(string) []netip.Addr { return []netip.Addr{*at.Load()} }}, zerolog.Nop())
	w.silence, w.look = time.Millisecond, 20*time.Millisecond // which any peer is
	defer w.Close()
	c, err := w.Dial(t.Context(), "tcp", "10.9.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := echoed(c); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	relay(t, fmt.Sprintf("127.0.0.2:%d", port), inside)
	move("127.0.0.2")
	if err := echoed(c); err != nil {
		t.Errorf("after the move: %v", err)
	}
}
