package exit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// resolverThat is a machine whose look-ups wait until go is closed or their context
// ends.
type resolverThat struct {
	machine
	asked chan struct{} // receives one value per look-up
	goes  chan struct{}
}

func (r resolverThat) LookupNetIP(ctx context.Context, _ string) ([]netip.Addr, error) {
	r.asked <- struct{}{}
	select {
	case <-r.goes:
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// named returns a WireGuard exit to an office, whose endpoint is a name that resolver
// finds.
func named(t *testing.T, resolver System) *wireGuard {
	t.Helper()
	near, far := newKey(t), newKey(t)
	file := profileFile(t, near, far.public, office(t, far, near))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("Endpoint = 127.0.0.1"), []byte("Endpoint = vpn.office.test"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return newWireGuard(file, resolver, zerolog.Nop())
}

// dialSoon dials with a context of its own and returns its end.
func dialSoon(w *wireGuard, ctx context.Context) <-chan error { //nolint:revive // the exit is what it is about
	ended := make(chan error, 1)
	go func() {
		c, err := w.Dial(ctx, "tcp", "10.9.0.1:7")
		if err == nil {
			_ = c.Close()
		}
		ended <- err
	}()
	return ended
}

func within(t *testing.T, what string, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(5 * time.Second):
		t.Fatalf("%s did not end", what)
		return nil
	}
}

// Callers that wait for an exit to come up wait no longer than their own contexts, and
// one that gives up does not end the attempt for the others.
func TestWireGuardWaitersHonourTheirContexts(t *testing.T) {
	t.Parallel()
	r := resolverThat{asked: make(chan struct{}, 8), goes: make(chan struct{})}
	w := named(t, r)
	defer w.Close()
	first, cancelFirst := context.WithCancel(t.Context())
	firstEnded := dialSoon(w, first)
	<-r.asked
	staying := dialSoon(w, t.Context())
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if err := within(t, "a caller behind a look-up", dialSoon(w, short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller behind a look-up: %v", err)
	}
	cancelFirst()
	if err := within(t, "the first caller", firstEnded); !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller: %v", err)
	}
	close(r.goes)
	if err := within(t, "the caller that stays", staying); err != nil {
		t.Errorf("the caller that stays: %v", err)
	}
	if n := len(r.asked); n != 0 {
		t.Errorf("%d more look-ups", n)
	}
}

// An attempt ends when its last caller gives up, and the next caller begins another.
func TestWireGuardAttemptEndsWithItsCallers(t *testing.T) {
	t.Parallel()
	r := resolverThat{asked: make(chan struct{}, 8), goes: make(chan struct{})}
	w := named(t, r)
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := dialSoon(w, ctx)
	<-r.asked
	cancel()
	_ = within(t, "the caller", ended)
	eventually(t, "the attempt goes on", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.starting == nil
	})
	close(r.goes)
	if err := within(t, "the next caller", dialSoon(w, t.Context())); err != nil {
		t.Error(err)
	}
}

func TestWireGuardClosesDuringLookUp(t *testing.T) {
	t.Parallel()
	r := resolverThat{asked: make(chan struct{}, 8), goes: make(chan struct{})}
	w := named(t, r)
	ended := dialSoon(w, t.Context())
	<-r.asked
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	_ = within(t, "Close", closed)
	if err := within(t, "the caller", ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the caller: %v", err)
	}
}
