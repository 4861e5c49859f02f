//go:build linux

package wan

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// through serves one connection to handle over a path, and returns its client.
func through(t *testing.T, p Path, handle func(net.Conn)) *net.TCPConn {
	t.Helper()
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		handle(c)
	}()
	r := New(p)
	near, err := r.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	go func() { _ = r.ServeTCP(near, far.Addr().String(), false) }()
	c, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func TestEveryByteArrivesInOrder(t *testing.T) {
	for name, p := range map[string]Path{
		"nothing":  {},
		"delay":    {Delay: 5 * time.Millisecond},
		"rate":     {Rate: 50 << 20},
		"inflight": {Delay: time.Millisecond, InFlight: 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			c := through(t, p, echo)
			sent := make([]byte, 8<<20)
			_, _ = rand.NewChaCha8([32]byte{}).Read(sent)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(200_000))
					if _, err := c.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(got) != sha256.Sum256(sent) {
				t.Errorf("%d bytes came back of %d, equal: %v", len(got), len(sent), bytes.Equal(got, sent))
			}
		})
	}
}

func TestDelay(t *testing.T) {
	const delay = 20 * time.Millisecond
	c := through(t, Path{Delay: delay}, echo)
	best := time.Hour
	for range 5 {
		start := time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if took < 2*delay {
			t.Fatalf("a round trip took %s, less than %s", took, 2*delay)
		}
		best = min(best, took)
	}
	if best > 2*delay+5*time.Millisecond {
		t.Errorf("the shortest round trip took %s, want %s", best, 2*delay)
	}
}

// pace returns the bytes per second that come out of a full path.
func pace(t *testing.T, p Path) float64 {
	c := through(t, p, func(c net.Conn) {
		for buf := make([]byte, 64<<10); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	var n int64
	var began time.Time
	for start := time.Now(); time.Since(start) < 700*time.Millisecond; {
		k, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if began.IsZero() && time.Since(start) > 200*time.Millisecond {
			began = time.Now()
		} else if !began.IsZero() {
			n += int64(k)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		path Path
		want float64
	}{
		"rate":     {Path{Delay: 10 * time.Millisecond, Rate: 10e6}, 10e6},
		"inflight": {Path{Delay: 20 * time.Millisecond, InFlight: 1 << 20}, (1 << 20) / 0.040},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pace(t, c.path); got < 0.5*c.want || got > 1.1*c.want {
				t.Errorf("%.1f MB/s, want %.1f", got/1e6, c.want/1e6)
			}
		})
	}
}

func TestReset(t *testing.T) {
	c := through(t, Path{Delay: time.Millisecond}, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1)) // a reset during the relay's dial would be lost
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	_, _ = c.Write([]byte{1})
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after the server's reset: %v, want an error", err)
	}
}

func TestDatagrams(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], from)
		}
	}()
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	const delay = 10 * time.Millisecond
	go func() { _ = New(Path{Delay: delay}).ServeUDP(near, server.LocalAddr().String()) }()
	c, err := net.Dial("udp", near.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	start := time.Now()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "hello" || time.Since(start) < 2*delay {
		t.Errorf("got %q, %v after %s", buf[:n], err, time.Since(start))
	}
}
