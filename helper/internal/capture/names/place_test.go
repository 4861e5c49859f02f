//go:build linux

package names

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// Each name has an address of the place's own, and none is given twice.
func TestPlaceAddresses(t *testing.T) {
	place := &Place{Names: netip.MustParsePrefix("198.19.16.0/20")}
	a := newAddresses(1000)
	a.place = place
	seen := make(map[netip.Addr]bool)
	for i := range 2000 {
		addr := a.of(fmt.Sprintf("host-%d.test", i))
		if seen[addr] || !place.Names.Contains(addr) || addr == place.Names.Addr() || addr == netip.MustParseAddr("198.19.31.255") {
			t.Fatalf("%s", addr)
		}
		seen[addr] = true
	}
}

// Where names share an address, one that has a port in common with an earlier
// one is not served there at all: the earlier one would answer for it.
func TestSharedAddress(t *testing.T) {
	shared := netip.AddrFrom4([4]byte{127, 5, byte(testUID >> 8), byte(testUID)})
	f := start(t, Options{Place: &Place{Device: "lo", Shared: shared}})
	udp := peer.Published{Name: "u.test", Host: "u.test", Ports: tcp("u.test", 5400).Ports, Protocols: []string{"udp"}}
	f.apply([]peer.Published{tcp("a.test", 5400), tcp("b.test", 5401, 5400), tcp("c.test", 5401), udp, tcp("*.d.test", 5402)})
	if _, err := f.source.Address("a.test"); err == nil {
		t.Error("names are served before anybody could find them")
	}
	f.source.FoundByDNS(true)
	for _, name := range []string{"a.test", "c.test", "u.test", "x.d.test"} {
		if a, err := f.source.Address(name); err != nil || a != shared {
			t.Errorf("%s: %s %v", name, a, err)
		}
	}
	for _, name := range []string{"b.test", "y.d.test"} {
		if a, err := f.source.Address(name); err == nil {
			t.Errorf("%s is at %s", name, a)
		}
	}
	if name, ok := f.source.NameOf(shared); ok {
		t.Errorf("the shared address is %s's", name)
	}
	if got := f.report("b.test").Trouble; !strings.Contains(got, "port 5400 of "+shared.String()) || !strings.Contains(got, "is that of a.test") {
		t.Errorf("trouble of b.test: %q", got)
	}
	c := dial(t, netip.AddrPortFrom(shared, 5401).String())
	defer c.Close()
	if st := f.accept(); st.Request().Target.Host != "c.test" {
		t.Errorf("port 5401 leads to %s", st.Request().Target.Host)
	}
	f.apply([]peer.Published{tcp("b.test", 5401, 5400)})
	if a, err := f.source.Address("b.test"); err != nil || a != shared {
		t.Errorf("alone, b.test: %s %v", a, err)
	}
}
