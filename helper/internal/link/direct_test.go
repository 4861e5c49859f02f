package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(remoteVariable); how != "" {
		beRemote(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// TestGrowth simulates a network on which each channel has its bound.
func TestGrowth(t *testing.T) {
	for _, tc := range []struct {
		name           string
		channel, total float64 // bytes a second
		demand         float64
		links          int
	}{
		{"one channel is all there is", 100e6, 100e6, 1e9, 1},
		{"channels bound it", 10e6, 1e9, 1e9, carrier.MaxDirect},
		{"the network bounds it", 10e6, 32e6, 1e9, 4},
		{"nobody asks for more", 10e6, 1e9, 100e3, 1},
		{"next door", 100e6, 1e9, 1e9, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var g growth
			trip := 100 * time.Millisecond
			if tc.name == "next door" {
				trip = 100 * time.Microsecond
			}
			links, bytes, now := 0, 0.0, time.Unix(0, 0)
			for i := range 200 { // 20 s, before growth is tried again
				links = g.want(now, links, uint64(bytes), trip)
				now = now.Add(100 * time.Millisecond)
				started := min(float64(i)/20, 1) // a flow takes 2 s to be as fast as it can
				bytes += 0.1 * started * min(tc.demand, tc.total, float64(links)*tc.channel)
			}
			if links != tc.links {
				t.Errorf("%d links, want %d", links, tc.links)
			}
		})
	}
}

// pair returns both ends of a session with the same secret.
func pair(t *testing.T) (gateway, capture *carrier.Conn) {
	t.Helper()
	var o carrier.Options
	_, _ = rand.Read(o.Session[:])
	_, _ = rand.Read(o.Secret[:])
	o.Log = zerolog.Nop()
	ends := [2]*carrier.Conn{}
	for i, role := range []carrier.Role{carrier.Gateway, carrier.Capture} {
		o.Role = role
		ends[i] = carrier.New(o)
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends[0], ends[1]
}

// Sessions of a window, one after the other, have the same port, if it is free.
func TestDirectPort(t *testing.T) {
	if a, b := PreferredPort("a"), PreferredPort("b"); a == b || a != PreferredPort("a") || PreferredPort("") != 0 {
		t.Errorf("ports %d and %d", a, b)
	}
	want := PreferredPort(t.Name())
	for _, taken := range []bool{false, true} {
		_, capt := pair(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if port, err := Listen(ctx, capt, want, zerolog.Nop()); err != nil || port == 0 || (port == want) == taken {
			t.Errorf("port %d, %v; %d is taken: %v", port, err, want, taken)
		}
	}
}

func TestDirectLinks(t *testing.T) {
	gw, capt := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	port, err := Listen(ctx, capt, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	// Strangers first: somebody who says nothing, nonsense, or knows no secret.
	silent, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x00\x00\x01\x01"} {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, said)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%q: %v", said, err)
		}
		_ = c.Close()
	}
	stranger, _ := pair(t)
	d := Direct{Carrier: stranger, Log: zerolog.Nop()}
	if err := d.dial(ctx, port); err == nil {
		t.Error("a gateway with another secret was let in")
	}
	if s := capt.Link(); s.Kind != "" {
		t.Fatalf("there is a link: %+v", s)
	}

	d = Direct{Carrier: gw, Log: zerolog.Nop(), Wanted: func() bool { return true }}
	if err := d.Use(ctx, port); err != nil {
		t.Fatal(err)
	}
	if err := d.Use(ctx, port); err != nil || gw.Link().Links != 1 {
		t.Errorf("asked again: %v, %d links", err, gw.Link().Links)
	}
	const size = 64 << 20
	want, got := sha256.New(), sha256.New()
	written := make(chan struct{})
	go func() {
		defer close(written)
		block := bytes.Repeat([]byte("causeway"), 8<<10)
		for range size / len(block) {
			block[0]++
			want.Write(block)
			_, _ = gw.Write(block)
		}
	}()
	if _, err := io.CopyN(got, capt, size); err != nil {
		t.Fatal(err)
	}
	<-written
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("what arrived is not what was sent")
	}
	if s := gw.Link(); s.Kind != carrier.KindDirect {
		t.Errorf("%+v", s)
	}
	sent, _ := gw.Traffic()
	_, received := capt.Traffic()
	if received != size || sent > size {
		t.Errorf("sent %d, received %d", sent, received)
	}
}
