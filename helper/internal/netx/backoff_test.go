package netx

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: time.Second, Most: 5 * time.Second}
	for round := range 2 {
		for i, want := range []int{1, 2, 4, 5, 5, 5} {
			if got := b.Next(); got != time.Duration(want)*time.Second {
				t.Errorf("round %d, wait %d is %v, want %d s", round, i, got, want)
			}
		}
		b.Reset()
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	b := Backoff{First: math.MaxInt64 / 3}
	for range 100 {
		if got := b.Next(); got <= 0 {
			t.Fatalf("a wait of %v", got)
		}
	}
}

func TestBackoffJitter(t *testing.T) {
	b := Backoff{First: time.Second, Most: time.Second, Jitter: 0.5}
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		got := b.Next()
		least, most = min(least, got), max(most, got)
	}
	if least < 500*time.Millisecond || least > 600*time.Millisecond || most > time.Second || most < 900*time.Millisecond {
		t.Errorf("waits from %v to %v, want them spread over 500 ms to 1 s", least, most)
	}
}

func TestBackoffWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: time.Second}
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("waited %v: %v", time.Since(start), err)
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, enough)
		defer cancel()
		start = time.Now()
		if err := b.Wait(ctx); !errors.Is(err, enough) || time.Since(start) != time.Second {
			t.Errorf("a wait of 2 s took %v: %v", time.Since(start), err)
		}
		start = time.Now()
		if err := b.Wait(ctx); !errors.Is(err, enough) || time.Since(start) != 0 {
			t.Errorf("with an ended context it took %v: %v", time.Since(start), err)
		}
	})
}
