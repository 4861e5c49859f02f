package hostile_test

import (
	"context"
	"io"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

// longWay is a carrier with a long round trip, on which windows grow.
type longWay struct{ tunnel.Carrier }

func (longWay) RoundTrip() time.Duration { return 50 * time.Millisecond }
func (longWay) Brief() int               { return 0 }
func (longWay) Moving() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// inUse is the memory that the runtime's limit counts.
func inUse() int {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// pausedDownload lets a flow's window grow by fast reading, and then reads no more.
func pausedDownload(t *testing.T) {
	capture, gateway := tunneltest.PairWith(t, tunnel.Options{Carrier: longWay{}}, tunnel.Options{Carrier: longWay{}})
	c, err := capture.Open(t.Context(), tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: "db"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = g.Reply(tunnel.Connected, "")
	go func() {
		b := make([]byte, 128<<10)
		for {
			if _, err := g.Write(b); err != nil {
				return
			}
		}
	}()
	_, _ = io.CopyN(io.Discard, c, 96<<20)
}

// TestWorstCaseMemory has everything at once that a peer can have a helper keep: two
// windows with paused downloads over a long and fast path, a peer whose bytes all come
// before their turn, one that acknowledges none, one that fills a thousand flows, and
// one with as many idle flows as there may be. -v prints the figure of SECURITY.md.
func TestWorstCaseMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(netx.MemoryLimit))
	m := hostile.NewMeter(t)
	start := inUse()
	quit, sampled := make(chan struct{}), make(chan struct{})
	most, budget := 0, 0
	go func() {
		defer close(sampled)
		for {
			most, budget = max(most, inUse()-start), max(budget, netx.Process.Used())
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	var peers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	for range 2 {
		pausedDownload(t)
	}
	early := gatewayCarrier(t, carrier.Options{})
	peers.Go(func() {
		l, at := attach(t, early, carrier.DefaultWindow), uint64(1)
		stop := context.AfterFunc(ctx, func() { _ = l.Close() })
		defer stop()
		flood(l, func() []byte {
			if at += 64 << 10; at > carrier.DefaultWindow-64<<10 {
				return nil
			}
			return dataFrame(linkData, at, make([]byte, 64<<10))
		})
	})
	unread := gatewayCarrier(t, carrier.Options{})
	peers.Go(func() {
		l := attach(t, unread, 1<<62)
		go func() {
			b := make([]byte, 64<<10)
			for {
				if _, err := unread.Write(b); err != nil {
					return
				}
			}
		}()
		arrived := uint64(0)
		stop := context.AfterFunc(ctx, func() { _ = l.Close() })
		defer stop()
		for {
			b, err := l.ReadFrame()
			if err != nil {
				return
			}
			if b[0] == linkData || b[0] == linkPush {
				arrived += uint64(len(b) - carrier.Overhead)
				_ = l.WriteFrame(join([]byte{linkAck}, ackFields(0, 1<<62, arrived)))
			}
		}
	})
	stalled := newPeer(t, tunnel.Options{})
	stalled.ignore()
	peers.Go(func() {
		body := make([]byte, 64<<10-2)
		full := join(message(msgData, body), message(msgData, body))
		for i := range uint32(1000) {
			if stalled.send(join(open(1+2*i, tunnel.UDP), frame(data, 0, 1+2*i, 0, full))) != nil {
				return
			}
		}
	})
	idle := newPeer(t, tunnel.Options{})
	idle.ignore()
	peers.Go(func() {
		for i := range uint32(4096) {
			if idle.send(open(1+2*i, tunnel.TCP)) != nil {
				return
			}
		}
	})
	time.Sleep(4 * time.Second)
	cancel()
	peers.Wait()
	live := m.Grown()
	close(quit)
	<-sampled
	t.Logf("live heap %.1f MiB, peak of all memory %.1f MiB, of which accounted for %.1f MiB; limit %d MiB",
		float64(live.Heap)/(1<<20), float64(most)/(1<<20), float64(budget)/(1<<20), netx.MemoryLimit>>20)
	if live.Heap > netx.MemoryLimit {
		t.Errorf("%v are more than the limit of %d MiB", live, netx.MemoryLimit>>20)
	}
	if most > netx.MemoryLimit*5/4 {
		t.Errorf("%d MiB at the peak, with a limit of %d MiB", most>>20, netx.MemoryLimit>>20)
	}
}
