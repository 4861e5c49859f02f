package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// What changed is seen once the moment has passed, and not before.
func TestRecentNamesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := &dialtest.Names{Answers: map[string][]any{"a.test": {[]string{"10.0.0.1"}, []string{"10.0.0.2"}}}}
		r := newRecentNames(by)
		expect := func(want string) {
			t.Helper()
			got, err := r.LookupNetIP(t.Context(), "a.test")
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("%v, %v; want %s", got, err, want)
			}
			got[0] = netip.Addr{} // it is the caller's
		}
		expect("[10.0.0.1]")
		time.Sleep(nameLife - 1)
		expect("[10.0.0.1]")
		time.Sleep(time.Nanosecond)
		expect("[10.0.0.2]")
		if len(by.Asked) != 2 {
			t.Errorf("asked %v", by.Asked)
		}
	})
}

// An answer counts from when it was asked for, however long that took.
func TestRecentNamesOfSlowResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := &slowNames{takes: nameLife}
		r := newRecentNames(by)
		for range 2 {
			if _, err := r.LookupNetIP(t.Context(), "a.test"); err != nil {
				t.Error(err)
			}
		}
		if by.asked != 2 {
			t.Errorf("asked %d times", by.asked)
		}
	})
}

func TestRecentNamesKeepNoFailure(t *testing.T) {
	refused := errors.New("refused")
	r := newRecentNames(&dialtest.Names{Answers: map[string][]any{
		"a.test": {refused, &net.DNSError{IsNotFound: true}, []string{}, []string{"10.0.0.1"}},
	}})
	for i, want := range []string{"[] refused", "[] lookup : ", "[] <nil>", "[10.0.0.1] <nil>", "[10.0.0.1] <nil>"} {
		got, err := r.LookupNetIP(t.Context(), "a.test")
		if said := fmt.Sprint(got, err); said != want {
			t.Errorf("%d: %q, want %q", i, said, want)
		}
	}
}

// Those who ask meanwhile share one look-up, and do not depend on whoever began it.
func TestRecentNamesAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := &slowNames{takes: 100 * time.Millisecond}
		r := newRecentNames(by)
		first, giveUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := r.LookupNetIP(first, "a.test"); !errors.Is(err, context.Canceled) {
				t.Errorf("whoever has given up is told %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			all.Go(func() {
				if got, err := r.LookupNetIP(t.Context(), "a.test"); err != nil || len(got) != 1 {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		giveUp()
		all.Wait()
		if by.asked != 2 {
			t.Errorf("asked %d times, want once for the one who gave up and once for the rest", by.asked)
		}
	})
}

func TestRecentNamesAreBounded(t *testing.T) {
	by := &slowNames{}
	r := newRecentNames(by)
	for i := range 3 * maxNames {
		if _, err := r.LookupNetIP(t.Context(), "a"+strconv.Itoa(i)+".test"); err != nil {
			t.Fatal(err)
		}
		if names, _ := r.known.Len(); names > maxNames {
			t.Fatalf("%d names are kept", names)
		}
	}
}

func TestRecentInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, fails := 0, false
		list := recentInterfaces(func() ([]netip.Prefix, error) {
			if fails {
				return nil, errors.New("no")
			}
			asked++
			return []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.0.0."+strconv.Itoa(asked)), 24)}, nil
		})
		expect := func(want string) {
			t.Helper()
			if got, err := list(); fmt.Sprint(got, err) != want {
				t.Errorf("%v, %v; want %s", got, err, want)
			}
		}
		expect("[10.0.0.1/24] <nil>")
		time.Sleep(interfacesLife - 1)
		fails = true
		expect("[10.0.0.1/24] <nil>")
		time.Sleep(time.Nanosecond)
		expect("[] no")
		fails = false
		expect("[10.0.0.2/24] <nil>")
	})
}

// slowNames is a Resolver of one address, that takes its time.
type slowNames struct {
	takes time.Duration
	mu    sync.Mutex
	asked int
}

func (n *slowNames) LookupNetIP(ctx context.Context, _ string) ([]netip.Addr, error) {
	n.mu.Lock()
	n.asked++
	n.mu.Unlock()
	select {
	case <-time.After(n.takes):
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// What is known needs no look-up.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{})
		answer := []any{[]string{"10.0.0.1"}}
		names := newRecentNames(&dialtest.Names{Answers: map[string][]any{"a.test": answer, "a.far.test": answer}})
		d.system = ownWay{Resolver: names}
		resources := dialtest.Parse(t, `[{"host": "*.test", "ports": [53]}, {"host": "*.far.test", "ports": [53], "exit": "office"},
			{"host": "10.0.0.1", "ports": [53]}, {"host": "localhost", "ports": [53], "as": "here.internal"}]`)
		known := func(host string) bool {
			t.Helper()
			m, err := resource.NewSet(resources).Match(resource.TCP, host, 53)
			if err != nil {
				t.Fatal(err)
			}
			return d.Known(m)
		}
		if !known("10.0.0.1") || !known("here.internal") || known("a.test") || known("a.far.test") {
			t.Error("before a look-up")
		}
		for name := range names.by.(*dialtest.Names).Answers {
			if _, err := names.LookupNetIP(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(nameLife - 1)
		if !known("a.test") || known("b.test") || known("a.far.test") {
			t.Error("after a look-up")
		}
		time.Sleep(time.Nanosecond)
		if known("a.test") {
			t.Error("the addresses are old")
		}
	})
}
