package tunnel_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

// cut is a Carrier whose link moves once it is closed.
type cut chan struct{}

func (cut) RoundTrip() time.Duration  { return 0 }
func (cut) Brief() int                { return 0 }
func (c cut) Moving() <-chan struct{} { return c }

// Who opens a flow while nothing gets through waits no longer than it wants to, and
// nothing is left of the attempt.
func TestOpenEndsWithItsContext(t *testing.T) {
	ours, theirs := net.Pipe() // nobody reads: each write waits
	s, err := tunnel.Client(ours, tunnel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = theirs.Close(), s.Close() }()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	cause := errors.New("the program has gone")
	for range 200 {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		wg.Go(func() {
			if _, err := s.Open(ctx, request, nil); !errors.Is(err, cause) {
				t.Errorf("open: %v, want the context's cause", err)
			}
		})
	}
	returned := make(chan struct{})
	go func() { wg.Wait(); close(returned) }()
	select {
	case <-returned:
	case <-time.After(5 * time.Second):
		t.Fatal("Open waits longer than its context")
	}
	if n := runtime.NumGoroutine() - before; n > 3 {
		t.Errorf("%d goroutines are left of the attempts", n)
	}
	if n := s.Flows(); n > 1 {
		t.Errorf("%d flows are left of the attempts", n)
	}
}

// What nobody wants any more when the link comes back is not asked for.
func TestOpenWaitsForALink(t *testing.T) {
	moving := make(cut)
	capture, gateway := tunneltest.PairWith(t, tunnel.Options{Carrier: moving}, tunnel.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := capture.Open(ctx, request, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("open: %v", err)
	}
	wanted := request
	wanted.Target.Host = "wanted.corp.test"
	opened := make(chan error, 1)
	go func() {
		st, err := capture.Open(context.Background(), wanted, []byte("hello"))
		if err == nil {
			defer st.Close()
			_, err = st.Answer(context.Background())
		}
		opened <- err
	}()
	time.Sleep(20 * time.Millisecond)
	close(moving)
	st, err := gateway.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Request().Target.Host; got != wanted.Target.Host {
		t.Errorf("the gateway is asked for %q", got)
	}
	_ = st.Reply(tunnel.Connected, "")
	if err := <-opened; err != nil {
		t.Error(err)
	}
	_ = st.Close()
}

// A request that was under way when its context ended is taken back.
func TestOpenTakesBackWhatNobodyWants(t *testing.T) {
	ours, theirs := net.Pipe()
	capture, err := tunnel.Client(ours, tunnel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := capture.Open(ctx, request, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("open: %v", err)
	}
	gateway, err := tunnel.Server(theirs, tunnel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = capture.Close(), gateway.Close() }()
	st, err := gateway.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_ = st.SetReadDeadline(time.Now().Add(5 * time.Second))
	var e *tunnel.Error
	if _, err := st.Read(make([]byte, 1)); !errors.As(err, &e) || e.Code != tunnel.Reset {
		t.Errorf("read: %v, want a reset", err)
	}
	waitFlows(t, capture, 0)
}

func TestTooManyFlowsAreNotOpened(t *testing.T) {
	capture, _ := tunneltest.PairWith(t, tunnel.Options{MaxFlows: 3}, tunnel.Options{})
	for range 3 {
		st, err := capture.Open(t.Context(), request, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
	}
	var e *tunnel.Error
	if _, err := capture.Open(t.Context(), request, nil); !errors.As(err, &e) || e.Code != tunnel.Overloaded {
		t.Errorf("open: %v, want overloaded", err)
	}
}
