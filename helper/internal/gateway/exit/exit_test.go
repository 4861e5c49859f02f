package exit

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/ecdh"
	"crypto/rand"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

type key struct{ private, public []byte }

func newKey(t *testing.T) key {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k.Bytes(), k.PublicKey().Bytes()}
}

// office is a WireGuard peer at 10.9.0.1 that echoes TCP and UDP at port 7.
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
	state, _ := dev.IpcGet()
	for line := range strings.SplitSeq(state, "\n") {
		_, _ = fmt.Sscanf(line, "listen_port=%d", &port)
	}
	return port
}

func profileFile(t *testing.T, own key, peer []byte, port uint16) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "office.conf")
	text := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = 10.9.0.2/24\n\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.9.0.0/24\nEndpoint = 127.0.0.1:%d\n",
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
	_ = e.Close()
	if _, err := e.Dial(ctx, "tcp", "10.9.0.1:7"); !errors.Is(err, net.ErrClosed) {
		t.Error("after Close:", err)
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

func TestHTTPConnect(t *testing.T) {
	t.Parallel()
	codes := map[string]int{"10.0.0.1:403": 403, "10.0.0.1:504": 504, "10.0.0.1:502": 502}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := codes[r.Host]; code != 0 {
			w.WriteHeader(code)
			return
		}
		c, _, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\nat once"))
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	e := New(resource.Exit{Type: resource.Proxy, URL: u}, nil, zerolog.Nop())
	c, err := e.Dial(t.Context(), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, _ := io.ReadAll(c); string(b) != "at once" {
		t.Errorf("%q", b)
	}
	wantCode(t, e, "10.0.0.1:403", tunnel.Denied)
	wantCode(t, e, "10.0.0.1:504", tunnel.TimedOut)
	wantCode(t, e, "10.0.0.1:502", tunnel.HostUnreachable)
}

func TestSOCKS5(t *testing.T) {
	t.Parallel()
	for reply, code := range map[byte]tunnel.Code{2: tunnel.Denied, 3: tunnel.NetUnreachable, 4: tunnel.HostUnreachable, 5: tunnel.Refused, 6: tunnel.TimedOut} {
		wantCode(t, socksServer(t, reply), "10.0.0.1:80", code)
	}
	c, err := socksServer(t, 0).Dial(t.Context(), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// socksServer is an exit by a server that answers one request.
func socksServer(t *testing.T, reply byte) Exit {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 10)
		_, _ = io.ReadFull(c, b[:3])
		_, _ = c.Write([]byte{5, 0})
		_, _ = io.ReadFull(c, b)
		_, _ = c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
	}()
	return New(resource.Exit{Type: resource.Proxy, URL: &url.URL{Scheme: "socks5", Host: ln.Addr().String()}}, nil, zerolog.Nop())
}
