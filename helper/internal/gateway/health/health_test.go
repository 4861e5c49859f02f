package health

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what tests find.
type world struct {
	mu      sync.Mutex
	fails   map[string]bool
	busy    bool // no test begins in time
	tested  map[string]int
	now     int
	most    int
	network string
	changed atomic.Int64
}

func (w *world) options() Options {
	return Options{
		Test: func(_ context.Context, name string, _ uint16) (o Outcome, ok bool) {
			w.mu.Lock()
			w.tested[name]++
			w.now++
			w.most = max(w.most, w.now)
			fails, busy := w.fails[name], w.busy
			w.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			w.mu.Lock()
			w.now--
			w.mu.Unlock()
			switch {
			case busy:
				return Outcome{}, false
			case fails:
				return Outcome{State: Fails, Step: "resolve", Silent: true, Detail: "no such name"}, true
			}
			return Outcome{State: Works, Step: "connect"}, true
		},
		Network: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.network
		},
		Changed: func() { w.changed.Add(1) },
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tested[name]
}

func run(t *testing.T, list ...Resource) (*world, *Keeper) {
	t.Helper()
	w := &world{fails: map[string]bool{}, tested: map[string]int{}}
	k := New(w.options())
	k.Keep(list)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { k.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w, k
}

func named(names ...string) (list []Resource) {
	for _, n := range names {
		list = append(list, Resource{Name: n, Definition: n})
	}
	return list
}

// What works is tested once; a new network tests it again, and use alone tells of many.
func TestRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := Resource{Name: "*.corp", Many: true}
		w, k := run(t, append(named("a"), many)...)
		time.Sleep(time.Hour)
		if w.count("a") != 1 || w.count("*.corp") != 0 || k.Of("a").State != Works || k.Of("*.corp").State != Unknown {
			t.Fatalf("%v, %+v", w.tested, k.Of("a"))
		}
		since := k.Of("a").Since
		k.Note("*.corp", Outcome{State: Fails})
		if k.Of("*.corp").State != Unknown {
			t.Error("one host of many stands for all")
		}
		k.Note("*.corp", Outcome{State: Works})
		w.set(func() { w.network = "hotel"; w.fails["a"] = true })
		time.Sleep(8 * time.Second)
		if r := k.Of("a"); r.State != Fails || !r.Since.After(since) || w.count("a") != 2 {
			t.Errorf("in another network: %+v after %d tests", r, w.count("a"))
		}
		if k.Of("*.corp").State != Unknown {
			t.Error("what worked in one network counts in another")
		}
	})
}

// A failure is tested again at growing intervals, until it works or a connection tells.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{fails: map[string]bool{"a": true, "b": true}, tested: map[string]int{}}
		k := New(w.options())
		k.Keep(named("a", "b"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go k.Run(ctx)
		time.Sleep(time.Hour)
		if n := w.count("a"); n < 8 || n > 15 {
			t.Errorf("%d tests in an hour", n)
		}
		k.Note("a", Outcome{State: Works, Port: 8080})
		n := w.count("a")
		time.Sleep(time.Hour)
		if w.count("a") != n || k.Of("a").State != Works || k.Of("a").Port != 8080 {
			t.Errorf("after use: %d more tests, %+v", w.count("a")-n, k.Of("a"))
		}
		w.set(func() { w.fails["b"] = false })
		time.Sleep(9 * time.Minute)
		if k.Of("b").State != Works {
			t.Error("it works again, unnoticed")
		}
	})
}

// A test that could not begin tells nothing: what is known stays, and the test comes later.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, k := run(t, named("a", "b")...)
		time.Sleep(time.Minute)
		k.Note("b", Outcome{State: Fails, Step: "judge"})
		before := [2]Report{k.Of("a"), k.Of("b")}
		w.set(func() { w.busy = true })
		k.CheckAll(t.Context())
		if got := [2]Report{k.Of("a"), k.Of("b")}; got != before {
			t.Errorf("%+v, was %+v", got, before)
		}
		n := w.count("a")
		time.Sleep(10 * time.Minute)
		if again := w.count("a") - n; again < 10 || again > 20 {
			t.Errorf("%d tests in 10 min", again)
		}
		w.set(func() { w.busy = false })
		n = w.count("a")
		time.Sleep(10 * time.Minute)
		if k.Of("b").State != Works || w.count("a") != n+1 {
			t.Errorf("%+v after %d tests", k.Of("b"), w.count("a")-n)
		}
	})
}

// An interface that comes and goes does not cause a stream of tests.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := run(t, named("a")...)
		for i := range 600 {
			w.set(func() { w.network = strings.Repeat("x", i%2) })
			time.Sleep(4 * time.Second)
		}
		if n := w.count("a"); n > 10 {
			t.Errorf("%d tests in 40 min", n)
		}
	})
}

// Few tests are under way at a time, and all end.
func TestCheckAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, k := run(t)
		var names []string
		for i := range 100 {
			names = append(names, strings.Repeat("n", i+1))
		}
		k.Keep(named(names...))
		k.CheckAll(t.Context())
		if len(w.tested) != 100 || w.most > 4 {
			t.Errorf("%d resources tested, %d at a time", len(w.tested), w.most)
		}
	})
}

// A VPN that is off is said once for all that depend on it.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := append(named("a", "b", "c", "alone", "late"), Resource{Name: "x", Exit: "office: wireguard"}, Resource{Name: "y", Exit: "office: wireguard"})
		k := New(Options{Changed: func() {}, Network: func() string { return "" }})
		k.Keep(list)
		off := Outcome{State: Fails, Silent: true}
		k.Note("late", off)
		time.Sleep(time.Hour)
		k.Note("a", off)
		if got := k.Trouble(); len(got) > 0 {
			t.Errorf("one failure: %q", got)
		}
		k.Note("b", off)
		k.Note("c", off)
		k.Note("alone", Outcome{State: Fails, Detail: "refused"})
		got := strings.Join(k.Trouble(), "|")
		if got != "Is the VPN on? 3 resources do not resolve or answer." {
			t.Error(got)
		}
		if !k.Of("a").Common || k.Of("alone").Common || k.Of("late").Common {
			t.Error("the wrong ones are common")
		}
		k.Note("x", off)
		k.Note("y", off)
		if got := k.Trouble(); len(got) != 2 || got[0] != `Does the exit "office" work? 2 resources do not resolve or answer.` {
			t.Errorf("%q", got)
		}
		for _, name := range []string{"a", "b", "c"} {
			k.Note(name, Outcome{State: Works})
		}
		if got := k.Trouble(); len(got) != 1 || k.Of("a").Common {
			t.Errorf("after it is on: %q", got)
		}
	})
}

// A resource of the same name that is another one begins anew.
func TestOther(t *testing.T) {
	k := New(Options{Changed: func() {}, Network: func() string { return "" }})
	k.Keep(named("a"))
	k.Note("a", Outcome{State: Works, Port: 80})
	k.Keep([]Resource{{Name: "a", Definition: "other"}})
	if r := k.Of("a"); r.State != Unknown || r.Port != 0 {
		t.Errorf("%+v", r)
	}
	k.Keep(nil)
	k.Note("a", Outcome{State: Works})
	if r := k.Of("a"); r.State != Unknown {
		t.Errorf("of none: %+v", r)
	}
}

// A round that takes long is no sleep of the machine: dead hosts are tested at growing
// intervals, and what use has shown stays.
func TestLongRounds(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tested := 0
			var mu sync.Mutex
			k := New(Options{Changed: func() {}, Network: func() string { return "" }, Test: func(ctx context.Context, name string, _ uint16) (Outcome, bool) {
				mu.Lock()
				tested++
				mu.Unlock()
				<-ctx.Done()
				return Outcome{State: Fails, Step: "connect", Silent: true}, true
			}})
			list := []Resource{{Name: "*.corp", Many: true}}
			for i := range 100 {
				list = append(list, named(strings.Repeat("n", i+1))...)
			}
			k.Keep(list)
			k.Note("*.corp", Outcome{State: Works})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			if all { // Run waits until the round of another is over
				wg.Go(func() { k.CheckAll(ctx) })
				time.Sleep(time.Second)
			}
			wg.Go(func() { k.Run(ctx) })
			time.Sleep(time.Hour)
			cancel()
			wg.Wait()
			if tested > 1200 {
				t.Errorf("%d tests of 100 resources in an hour", tested)
			}
			if k.Of("*.corp").State != Works {
				t.Error("what use has shown is lost")
			}
		})
	}
}
