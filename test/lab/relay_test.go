//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"
)

// relayed returns a relay to a server that echoes, and a connection through it.
func relayed(t *testing.T) (*Relay, *net.TCPConn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := NewRelay(ln, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Addr().String())
	})
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
		<-done
	})
	return r, connect(t, r)
}

func connect(t *testing.T, r *Relay) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// echoes sends text and waits for it.
func echoes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("echo of %q: %q, %v", text, buf, err)
	}
}

func TestRelayPasses(t *testing.T) {
	r, c := relayed(t)
	sent := make([]byte, 5<<20)
	_, _ = io.ReadFull(Bytes(1), sent)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
	}
	if s := r.State(); s.Up != int64(len(sent)) || s.Down != s.Up || s.Accepted != 1 {
		t.Errorf("state: %+v", s)
	}
}

func TestRelayCut(t *testing.T) {
	r, c := relayed(t)
	echoes(t, c, "before")
	r.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read on a cut connection: %v", err)
	}
	// The reset may come before Dial has returned.
	late, err := net.Dial("tcp", r.Addr().String())
	if err == nil {
		defer late.Close()
		_ = late.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = late.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection made while cut: %v", err)
	}
	r.Resume()
	echoes(t, connect(t, r), "after")
}

func TestRelayStall(t *testing.T) {
	r, c := relayed(t)
	echoes(t, c, "before")
	r.Stall()
	if _, err := io.WriteString(c, "held"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read while stalled: %d, %v", n, err)
	}
	r.Resume()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "held" {
		t.Fatalf("read after the stall: %q, %v", buf, err)
	}
}

func TestRelaySlow(t *testing.T) {
	r, c := relayed(t)
	r.Slow(0, 30*time.Millisecond)
	start := time.Now()
	echoes(t, c, "delayed")
	if d := time.Since(start); d < 60*time.Millisecond {
		t.Errorf("round trip of %v with a delay of 30 ms each way", d)
	}
	r.Slow(1<<20, 0)
	start = time.Now()
	echoes(t, c, string(make([]byte, 200<<10)))
	if d := time.Since(start); d < 150*time.Millisecond {
		t.Errorf("200 KiB at 1 MiB/s took %v", d)
	}
}

// TestRelayBound checks that the relay takes at most the bound before the delivery
// of the first byte is known, and that every byte arrives.
func TestRelayBound(t *testing.T) {
	const bound, delay = 64 << 10, 500 * time.Millisecond
	r, c := relayed(t)
	r.Slow(0, delay)
	r.Bound(bound)
	sent := make([]byte, 5*bound/2)
	_, _ = io.ReadFull(Bytes(2), sent)
	start := time.Now()
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("it came back as something else: %v", err)
	}
	// Two round trips pass before the relay takes the last byte, and one more
	// before it comes back.
	if took := time.Since(start); took < 6*delay {
		t.Errorf("%d bytes came back after %v, with %d in flight and a delay of %v", len(sent), took, bound, delay)
	}
	r.Slow(0, 0)
	r.Bound(0)
	echoes(t, c, string(make([]byte, 4*bound)))
}

func TestRelayControl(t *testing.T) {
	r, _ := relayed(t)
	for _, c := range []struct {
		method, path string
		status       int
		mode         string
	}{
		{"POST", "/stall", 200, "stall"},
		{"POST", "/cut", 200, "cut"},
		{"POST", "/resume", 200, "open"},
		{"POST", "/slow?rate=1000&delay=5&inflight=7", 200, "open"},
		{"POST", "/slow?inflight=-1", 400, "open"},
		{"POST", "/slow?rate=-1", 400, "open"},
		{"POST", "/slow?rate=many", 400, "open"},
		{"GET", "/cut", 405, "open"},
		{"POST", "/else", 400, "open"},
		{"GET", "/", 200, "open"},
	} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if s := r.State(); w.Code != c.status || s.Mode != c.mode {
			t.Errorf("%s %s: status %d, state %+v", c.method, c.path, w.Code, s)
		}
	}
	if s := r.State(); s.Rate != 1000 || s.Delay != 5 || s.InFlight != 7 {
		t.Errorf("state: %+v", s)
	}
}
