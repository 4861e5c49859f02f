//go:build linux

package names

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// A wildcard serves any number of names one after the other. The name that was
// unused for the longest time gives way, never one that a program may still use.
func TestLeastRecentlyUsedGivesWay(t *testing.T) {
	for way, r := range map[string]hostnet.Ranges{"listeners": {}, "device": ranges} {
		t.Run(way, func(t *testing.T) {
			f := start(t, Options{Idle: time.Hour})
			// unused makes all names so far unused for longer than Idle.
			unused := func() {
				f.source.recent.mu.Lock()
				defer f.source.recent.mu.Unlock()
				for name, at := range f.source.recent.at {
					f.source.recent.at[name] = at.Add(-2 * time.Hour)
				}
			}
			f.source.Lead(r)
			f.source.FoundByDNS(true)
			p := wildcard("corp.test")
			p.Ports = []peer.PublishedPort{{First: 20000, Last: 20000 + maxLookedPorts - 1}}
			f.apply([]peer.Published{p, tcp("db.test", 5432)})
			limit := maxLookedAll / maxLookedPorts
			if way == "device" {
				limit = maxLooked
			}
			name := func(i int) string { return fmt.Sprintf("n%d.corp.test", i) }
			for i := range limit {
				f.address(name(i))
			}
			first := f.address(name(0))
			if a, err := f.source.Address("more.corp.test"); !errors.Is(err, ErrTooMany) {
				t.Errorf("while all names are in use: %v %v", a, err)
			}
			unused()
			f.address(name(0)) // in use again
			gone := f.address(name(1))
			second := f.address(name(2))
			if way == "device" { // where a flow is a use as well
				unused()
				f.source.At(first)
				f.source.At(gone)
				f.source.At(second)
			}
			seen := map[netip.Addr]string{}
			for i := range 3 {
				a := f.address(fmt.Sprintf("more%d.corp.test", i))
				for _, kept := range []netip.Addr{first, gone, second} {
					if a == kept {
						t.Errorf("more%d.corp.test has the address of a name in use", i)
					}
				}
				if seen[a] != "" {
					t.Errorf("%s is at %s twice", a, seen[a])
				}
				seen[a] = "more"
			}
			for i, want := range []netip.Addr{first, gone, second} {
				if got := f.address(name(i)); got != want {
					t.Errorf("%s moved from %s to %s", name(i), want, got)
				}
				if n, ok := f.source.NameOf(want); !ok || n != name(i) {
					t.Errorf("%s is that of %q", want, n)
				}
			}
			if n := len(f.source.looked); n != limit || len(f.source.recent.at) != n || len(f.source.lookedSet) != n {
				t.Errorf("%d names, %d followed", n, len(f.source.recent.at))
			}
			if r := f.report("*.corp.test"); r.Trouble != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}
