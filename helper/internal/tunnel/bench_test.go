package tunnel_test

import (
	"io"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

// benchFlow returns both ends of a flow whose gateway's end echo serves.
func benchFlow(b *testing.B, echo func(*tunnel.Stream)) *tunnel.Stream {
	b.Helper()
	capture, gateway := tunneltest.Pair(b)
	c, err := capture.Open(b.Context(), request, nil)
	if err != nil {
		b.Fatal(err)
	}
	g, err := gateway.Accept()
	if err != nil {
		b.Fatal(err)
	}
	_ = g.Reply(tunnel.Connected, "")
	done := make(chan struct{})
	go func() { defer close(done); echo(g) }()
	b.Cleanup(func() { _, _ = c.Close(), g.Close(); <-done })
	return c
}

// BenchmarkBulk sends in one direction as a relay does.
func BenchmarkBulk(b *testing.B) {
	c := benchFlow(b, func(g *tunnel.Stream) {
		for {
			chunk, err := g.ReadChunk()
			if err != nil {
				return
			}
			chunk.Release()
		}
	})
	const size = 128 << 10
	b.SetBytes(size)
	for b.Loop() {
		for left := size; left > 0; {
			n, err := c.WaitWritable()
			if err != nil {
				b.Fatal(err)
			}
			n = min(n, left)
			chunk := netx.NewChunk(n)
			chunk.Grow(n)
			if err := c.WriteChunk(chunk); err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	}
}

// BenchmarkEcho sends a byte and waits for it to come back.
func BenchmarkEcho(b *testing.B) {
	c := benchFlow(b, func(g *tunnel.Stream) { _, _ = io.Copy(g, g) })
	p := make([]byte, 1)
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens flows, fifty at a time, and ends them in order.
func BenchmarkOpen(b *testing.B) {
	capture, gateway := tunneltest.Pair(b)
	go func() {
		for {
			g, err := gateway.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = g.Reply(tunnel.Connected, "")
				_, _ = io.Copy(g, g)
				_, _ = g.CloseWrite(), g.Close()
			}()
		}
	}()
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := capture.Open(b.Context(), request, []byte("x"))
			if err != nil {
				b.Error(err)
				return
			}
			_ = c.CloseWrite()
			if _, err := io.Copy(io.Discard, c); err != nil {
				b.Error(err)
			}
			_ = c.Close()
		}
	})
}
