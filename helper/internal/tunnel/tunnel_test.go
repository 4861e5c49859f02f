package tunnel_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var request = tunnel.Request{
	Target: tunnel.Target{Network: tunnel.TCP, Host: "orders-db.corp.test", Port: 5432},
	Origin: tunnel.Origin{Source: "names", User: "dev", PID: 4711, Program: "psql"},
}

// flow opens a flow and accepts it at the other end.
func flow(t *testing.T, capture, gateway *tunnel.Session, req tunnel.Request, early string) (c, g *tunnel.Stream) {
	t.Helper()
	c, err := capture.Open(t.Context(), req, []byte(early))
	if err != nil {
		t.Fatal(err)
	}
	g, err = gateway.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = g.Close() })
	return c, g
}

func TestRequestAnswerAndEarlyData(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "hello")
	if g.Request() != request {
		t.Errorf("request %+v, want %+v", g.Request(), request)
	}
	if err := g.Reply(tunnel.Connected, "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	reason, err := c.Answer(t.Context())
	if err != nil || reason != "10.0.0.1" {
		t.Fatalf("answer %q, %v", reason, err)
	}
	p := make([]byte, 16)
	if n, err := g.Read(p); err != nil || string(p[:n]) != "hello" {
		t.Fatalf("early data %q, %v", p[:n], err)
	}
	if err := g.Reply(tunnel.Connected, ""); err == nil {
		t.Error("a second answer was accepted")
	}
}

func TestEachCodeArrives(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	for code := tunnel.Denied; code <= tunnel.Failed; code++ {
		c, g := flow(t, capture, gateway, request, "early data nobody reads")
		if err := g.Reply(code, "because\x1b[31m"); err != nil {
			t.Fatal(err)
		}
		_ = g.Close()
		var e *tunnel.Error
		if _, err := c.Answer(t.Context()); !errors.As(err, &e) || e.Code != code || e.Reason != `because\u001b[31m` {
			t.Errorf("%v: answer %v", code, err)
		}
		_ = c.Close()
	}
}

func TestHalfCloseBothWays(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	for _, first := range []string{"capture", "gateway"} {
		c, g := flow(t, capture, gateway, request, "")
		_ = g.Reply(tunnel.Connected, "")
		a, b := c, g
		if first == "gateway" {
			a, b = g, c
		}
		_, _ = a.Write([]byte("first"))
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); err != nil || string(got) != "first" {
			t.Fatalf("read %q, %v", got, err)
		}
		if _, err := b.Write([]byte("second")); err != nil {
			t.Fatal(err)
		}
		_ = b.CloseWrite()
		_ = b.Close()
		if got, err := io.ReadAll(a); err != nil || string(got) != "second" {
			t.Fatalf("read %q, %v", got, err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	waitFlows(t, capture, 0)
	waitFlows(t, gateway, 0)
}

func waitFlows(t *testing.T, s *tunnel.Session, want int) {
	t.Helper()
	for range 500 {
		if s.Flows() == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d flows left, want %d", s.Flows(), want)
}

func TestResetOvertakesData(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	_ = g.Reply(tunnel.Connected, "")
	g.Reset("connection reset by peer")
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	var e *tunnel.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &e) || e.Code != tunnel.Reset || !errors.Is(err, net.ErrClosed) {
		t.Fatalf("read: %v, want a reset", err)
	}
	if _, err := c.Write([]byte("x")); !errors.As(err, &e) {
		t.Fatalf("write: %v, want a reset", err)
	}
}

func TestResetThenCloseKeepsTheReason(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	for range 50 {
		c, g := flow(t, capture, gateway, request, "")
		_ = g.Reply(tunnel.Connected, "")
		ended := make(chan struct{})
		c.OnEnd(func() { close(ended) })
		g.Reset("because")
		_ = g.Close()
		<-ended
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "because") {
			t.Fatalf("read: %v, want the reason", err)
		}
	}
}

func TestCloseWithoutEndResets(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	_ = g.Reply(tunnel.Connected, "")
	_ = g.Close()
	var e *tunnel.Error
	if _, err := io.ReadAll(c); !errors.As(err, &e) {
		t.Fatalf("read: %v, want a reset: a truncated flow must not look whole", err)
	}
}

func TestBulkBothWaysIsExact(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	_ = g.Reply(tunnel.Connected, "")
	const size = 40 << 20
	var wg sync.WaitGroup
	for _, d := range []struct{ from, to *tunnel.Stream }{{c, g}, {g, c}} {
		sum := make(chan [32]byte, 1)
		wg.Go(func() {
			h := sha256.New()
			rnd := rand.New(rand.NewPCG(1, 2))
			buf := make([]byte, 200<<10)
			for sent := 0; sent < size; {
				n := min(1+rnd.IntN(len(buf)), size-sent)
				for i := range n {
					buf[i] = byte(i * sent)
				}
				h.Write(buf[:n])
				if _, err := d.from.Write(buf[:n]); err != nil {
					t.Error(err)
					return
				}
				sent += n
			}
			_ = d.from.CloseWrite()
			sum <- [32]byte(h.Sum(nil))
		})
		wg.Go(func() {
			h := sha256.New()
			if n, err := io.Copy(h, d.to); err != nil || n != size {
				t.Errorf("received %d bytes, %v", n, err)
				return
			}
			if got := [32]byte(h.Sum(nil)); got != <-sum {
				t.Error("content differs")
			}
		})
	}
	wg.Wait()
}

func TestDatagramsKeepTheirBoundaries(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	req := request
	req.Target.Network = tunnel.UDP
	c, g := flow(t, capture, gateway, req, "")
	_ = g.Reply(tunnel.Connected, "")
	want := []string{"one", "", strings.Repeat("x", 65507), "four"}
	for _, d := range want {
		if _, err := c.Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
	}
	p := make([]byte, 64<<10)
	for _, d := range want {
		if n, err := g.Read(p); err != nil || string(p[:n]) != d {
			t.Fatalf("datagram %q, %v; want %q", p[:n], err, d)
		}
	}
	// A receiver that takes nothing costs the sender nothing but datagrams.
	for range 1000 {
		if _, err := c.Write(p[:1000]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBudgetResetsTheMostStalled(t *testing.T) {
	capture, gateway := tunneltest.PairWith(t, tunnel.Options{}, tunnel.Options{Memory: netx.NewBudget(256 << 10).Share(func() {})})
	var flows []*tunnel.Stream
	for range 12 {
		c, g := flow(t, capture, gateway, request, "")
		_ = g.Reply(tunnel.Connected, "")
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = c.Write(make([]byte, 64<<10))
		flows = append(flows, c)
	}
	_ = flows[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	var e *tunnel.Error
	if _, err := flows[0].Read(make([]byte, 1)); !errors.As(err, &e) || !strings.Contains(e.Reason, "stalled") {
		t.Fatalf("the flow that stalled first: %v, want a reset with the reason", err)
	}
	last := flows[len(flows)-1]
	_ = last.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the flow that stalled last: %v, want it alive", err)
	}
}

func TestTooManyFlowsAreRefused(t *testing.T) {
	capture, gateway := tunneltest.PairWith(t, tunnel.Options{}, tunnel.Options{MaxFlows: 3})
	for range 3 {
		flow(t, capture, gateway, request, "")
	}
	c, err := capture.Open(t.Context(), request, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var e *tunnel.Error
	if _, err := c.Answer(t.Context()); !errors.As(err, &e) || e.Code != tunnel.Overloaded {
		t.Fatalf("answer %v, want overloaded", err)
	}
}

func TestCancelledAnswerResetsTheFlow(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Answer(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("answer: %v", err)
	}
	if _, err := g.Read(make([]byte, 1)); err == nil {
		t.Fatal("the gateway did not see the reset")
	}
}

func TestSessionEndEndsEverything(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	_ = g.Reply(tunnel.Connected, "")
	_ = gateway.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("read: %v", err)
	}
	<-capture.Done()
	if _, err := capture.Open(t.Context(), request, nil); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("open: %v", err)
	}
	if _, err := gateway.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("accept: %v", err)
	}
	_ = g
}

func TestControlStream(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	got := make(chan string, 1)
	go func() {
		st, err := capture.Control(context.Background())
		if err != nil {
			got <- err.Error()
			return
		}
		p := make([]byte, 64)
		n, _ := st.Read(p)
		got <- string(p[:n])
	}()
	st, err := gateway.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = st.Write([]byte("publish"))
	if s := <-got; s != "publish" {
		t.Fatalf("control stream: %q", s)
	}
}

func TestThousandShortFlows(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	go func() {
		for {
			g, err := gateway.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = g.Reply(tunnel.Connected, "")
				_, _ = io.Copy(g, g)
				_ = g.CloseWrite()
				_ = g.Close()
			}()
		}
	}()
	sem := make(chan struct{}, 50)
	var wg sync.WaitGroup
	for i := range 1000 {
		sem <- struct{}{}
		wg.Go(func() {
			defer func() { <-sem }()
			want := fmt.Sprintf("flow %d", i)
			c, err := capture.Open(context.Background(), request, []byte(want))
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != want {
				t.Errorf("flow %d: %q, %v", i, got, err)
			}
			_ = c.Close()
		})
	}
	wg.Wait()
	waitFlows(t, capture, 0)
	waitFlows(t, gateway, 0)
}

// What crosses a refusal on its way must not cost the answer.
func TestRefusalMeetsData(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	for range 3000 {
		c, g := flow(t, capture, gateway, request, "early")
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = c.Write([]byte("more"))
			_ = c.CloseWrite()
		}()
		if err := g.Reply(tunnel.Denied, "not approved"); err != nil {
			t.Fatal(err)
		}
		_, err := c.Answer(t.Context())
		if failed, ok := errors.AsType[*tunnel.Error](err); !ok || failed.Code != tunnel.Denied {
			t.Fatalf("the answer is %v", err)
		}
		<-wrote
		_, _ = c.Close(), g.Close()
	}
}
