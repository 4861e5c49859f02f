package turns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

func limits(places int) Limits {
	return Limits{Places: places, Rate: rate.Inf, Burst: 1, Patience: 2 * time.Second}
}

// take waits for a turn that has to come at once.
func take(t *testing.T, turns *Turns, key string) (release func()) {
	t.Helper()
	began := time.Now()
	release, err := turns.Wait(t.Context(), Key{Resource: key})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if waited := time.Since(began); waited > 0 {
		t.Fatalf("%s waited for %s", key, waited)
	}
	return release
}

func TestOneKeyLeavesPlacesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(limits(256))
		var releases []func()
		for range 144 {
			releases = append(releases, take(t, turns, "scan"))
		}
		if _, err := turns.Wait(t.Context(), Key{Resource: "scan"}); !errors.Is(err, ErrBusy) {
			t.Errorf("beyond its share: %v", err)
		}
		// Others that hang as well leave something still.
		for i := range 100 {
			for range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
				release, err := turns.Wait(ctx, Key{Resource: fmt.Sprint("scan ", i)})
				cancel()
				if err != nil {
					break
				}
				releases = append(releases, release)
			}
		}
		for i := range 500 {
			releases = append(releases, take(t, turns, fmt.Sprint("idle ", i)))
		}
		for _, release := range releases {
			release()
		}
		if turns.InUse() != 0 || len(turns.keys) != 0 || len(turns.queue) != 0 {
			t.Errorf("%d in use, %d keys, %d queues are left", turns.InUse(), len(turns.keys), len(turns.queue))
		}
	})
}

// A caller that hangs leaves places of its resource to others, and many of them leave
// places to other resources.
func TestOneCallerLeavesPlacesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(limits(256))
		var releases []func()
		fill := func(caller string) (n int) {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
				release, err := turns.Wait(ctx, Key{"net", caller})
				cancel()
				if err != nil {
					return n
				}
				releases = append(releases, release)
				n++
			}
		}
		for caller, want := range []int{144, 36, 9, 3, 0} {
			if n := fill(fmt.Sprint("nmap ", caller)); n != want {
				t.Errorf("caller %d gets %d places, want %d", caller, n, want)
			}
		}
		if take(t, turns, "db")(); turns.InUse() != 192 {
			t.Errorf("%d in use", turns.InUse())
		}
		for _, release := range releases {
			release()
		}
		if turns.InUse() != 0 || len(turns.keys) != 0 || len(turns.queue) != 0 {
			t.Errorf("%d in use, %d keys, %d queues are left", turns.InUse(), len(turns.keys), len(turns.queue))
		}
	})
}

// A caller with many waiters does not use up the rate that others of its resource need.
func TestRateIsSharedWithinAResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(Limits{Places: 10, Rate: 100, Burst: 10, Patience: 2 * time.Second})
		var wg sync.WaitGroup
		for range 2000 {
			wg.Go(func() {
				if release, err := turns.Wait(t.Context(), Key{"net", "nmap"}); err == nil {
					release()
				}
			})
		}
		synctest.Wait()
		for range 20 {
			began := time.Now()
			release, err := turns.Wait(t.Context(), Key{"net", "psql"})
			if waited := time.Since(began); err != nil || waited > 25*time.Millisecond {
				t.Errorf("psql: %v after %s", err, waited)
			}
			if err == nil {
				release()
			}
		}
		wg.Wait()
	})
}

// A key with many waiters does not use up the rate that the others need.
func TestRateIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(Limits{Places: 10, Rate: 100, Burst: 10, Patience: 2 * time.Second})
		var wg sync.WaitGroup
		busy := make(chan error, 2000)
		for range 2000 {
			wg.Go(func() {
				release, err := turns.Wait(t.Context(), Key{Resource: "scan"})
				if err == nil {
					release()
				}
				busy <- err
			})
		}
		synctest.Wait()
		for range 20 {
			began := time.Now()
			release, err := turns.Wait(t.Context(), Key{Resource: "live"})
			if waited := time.Since(began); err != nil || waited > 25*time.Millisecond {
				t.Errorf("live: %v after %s", err, waited)
			}
			if err == nil {
				release()
			}
		}
		wg.Wait()
		close(busy)
		served := 0
		for err := range busy {
			if err == nil {
				served++
			} else if !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		}
		if served < 150 || served > 250 {
			t.Errorf("%d turns of the scan began within two seconds at 100 per second", served)
		}
	})
}

func TestWaitersGoOnInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(limits(1))
		first := take(t, turns, "a")
		order := make(chan string, 4)
		for i, key := range []string{"a", "a", "b", "a"} {
			go func() {
				release, err := turns.Wait(t.Context(), Key{Resource: key})
				if err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				time.Sleep(time.Millisecond)
				order <- fmt.Sprint(key, i)
				release()
			}()
			synctest.Wait()
		}
		// b has no place and gets one beyond the limit, before the others of a.
		if got := <-order; got != "b2" {
			t.Errorf("%s comes first", got)
		}
		first()
		for _, want := range []string{"a0", "a1", "a3"} {
			if got := <-order; got != want {
				t.Errorf("%s comes instead of %s", got, want)
			}
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(limits(1))
		release := take(t, turns, "a")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		time.AfterFunc(time.Millisecond, func() { cancel(gone) })
		if _, err := turns.Wait(ctx, Key{Resource: "a"}); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		release()
		take(t, turns, "a")()
	})
}

func TestTurnsUnderLoad(t *testing.T) {
	turns := New(Limits{Places: 4, Rate: rate.Inf, Burst: 1, Patience: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 300 {
				if release, err := turns.Wait(t.Context(), Key{fmt.Sprint(i % 5), fmt.Sprint(i % 3)}); err == nil {
					release()
				}
			}
		})
	}
	wg.Wait()
	if turns.InUse() != 0 || len(turns.keys) != 0 || len(turns.queue) != 0 {
		t.Errorf("%d in use, %d keys, %d queues are left", turns.InUse(), len(turns.keys), len(turns.queue))
	}
}
