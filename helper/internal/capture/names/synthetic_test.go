//go:build linux

package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

var (
	ranges = hostnet.Ranges{V4: netip.MustParsePrefix("198.19.240.0/20"), V6: netip.MustParsePrefix("fdc5:7a0e:93d1:13f0::/64")}
	other  = hostnet.Ranges{V4: netip.MustParsePrefix("198.19.224.0/20")}
)

func TestLead(t *testing.T) {
	f := start(t, Options{})
	f.source.Lead(ranges)
	held, err := net.Listen("tcp4", netip.AddrPortFrom(newAddresses(testUID).of("db.test"), 5439).String())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	wide := tcp("wide.test")
	wide.Ports = []peer.PublishedPort{{First: 1, Last: 65535}}
	ping := tcp("ping.test")
	ping.Ports, ping.Protocols = nil, []string{"icmp"}
	f.apply([]peer.Published{tcp("db.test", 5439), wide, ping, wildcard("corp.test", 8080)})

	// In the hosts file by both addresses, whatever ports can be listened on.
	for _, name := range []string{"db.test", "wide.test", "ping.test"} {
		var found []string
		for line := range strings.Lines(f.hosts()) {
			if f := strings.Fields(line); len(f) > 1 && f[1] == name {
				found = append(found, f[0])
				if _, ok := ranges.Number(netip.MustParseAddr(f[0])); !ok {
					t.Errorf("%s is at %s", name, f[0])
				}
			}
		}
		if len(found) != 2 {
			t.Errorf("%s is at %v", name, found)
		}
		for _, a := range found {
			if got, ok := f.source.At(netip.MustParseAddr(a)); !ok || got != name {
				t.Errorf("%s is that of %q", a, got)
			}
			if got, ok := f.source.NameOf(netip.MustParseAddr(a)); !ok || got != name {
				t.Errorf("%s is told to be that of %q", a, got)
			}
		}
	}
	db := f.lookup("db.test")
	if r := f.report("db.test"); r.Address != db || r.Trouble != "" || !slices.Equal(r.Served, []string{"db.test:5439", "tun"}) {
		t.Errorf("%+v", r)
	}
	if r := f.report("wide.test"); r.Trouble != "" || !slices.Equal(r.Served, []string{"wide.test:1-65535", "tun"}) {
		t.Errorf("%+v", r)
	}
	if r := f.report("ping.test"); !slices.Equal(r.Served, []string{"tun"}) {
		t.Errorf("%+v", r)
	}
	// Names of a wildcard, by the stub resolver.
	f.source.FoundByDNS(true)
	x, x6 := f.address("x.corp.test"), f.address6("x.corp.test")
	if name, _ := f.source.At(x); name != "x.corp.test" || f.address("db.test").String() != db || !ranges.V6.Contains(x6) {
		t.Errorf("%s and %s, %q", x, x6, name)
	}
	// What is not published any more is not given away.
	f.apply([]peer.Published{tcp("new.test", 5432)})
	if name, _ := f.source.At(netip.MustParseAddr(db)); name != "db.test" {
		t.Errorf("%s is that of %q", db, name)
	}
	if _, ok := f.source.NameOf(netip.MustParseAddr(db)); ok || strings.Contains(f.hosts(), "db.test") {
		t.Errorf("it is told still: %q", f.hosts())
	}
}

// Names go where the device goes, and to loopback, where they are served all the
// time, when it is gone.
func TestLeadElsewhere(t *testing.T) {
	f := start(t, Options{})
	f.source.FoundByDNS(true)
	f.apply([]peer.Published{tcp("db.test", 5432)})
	before := f.lookup("db.test")
	f.dial("db.test", 5432)
	f.accept()
	for range 2 {
		f.source.Lead(ranges)
		first := f.lookup("db.test")
		dial(t, before+":5432") // who has looked it up before
		f.accept()
		f.source.Lead(other)
		second := netip.MustParseAddr(f.lookup("db.test"))
		a, _ := ranges.Number(netip.MustParseAddr(first))
		b, ok := other.Number(second)
		if a != b || !ok || f.address6("db.test").IsValid() {
			t.Errorf("%s became %s and %s", first, second, f.address6("db.test"))
		}
		if _, ok := f.source.At(netip.MustParseAddr(first)); ok {
			t.Errorf("%s, which leads nowhere, has a name", first)
		}
		f.source.Lead(hostnet.Ranges{})
		if got := f.lookup("db.test"); got != before || f.address("db.test").String() != before || f.address6("db.test").IsValid() {
			t.Errorf("%s became %s", before, got)
		}
		if _, ok := f.source.At(second); ok {
			t.Errorf("%s, which leads nowhere, has a name", second)
		}
	}
}

// Names that lead to the device leave every port to programs of this machine, before
// and after they are looked up.
func TestLedNamesLeavePortsFree(t *testing.T) {
	f := start(t, Options{})
	f.source.Lead(ranges)
	f.source.FoundByDNS(true)
	u := udp("ntp.test", 5441)
	f.apply([]peer.Published{tcp("db.test", 5440), u, wildcard("corp.test", 5442)})
	f.address("x.corp.test")
	for _, port := range []string{"5440", "5442"} {
		own, err := net.Listen("tcp4", "0.0.0.0:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
	}
	own, err := net.ListenPacket("udp4", "0.0.0.0:5441")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	f.apply([]peer.Published{tcp("db.test", 5440), u, wildcard("corp.test", 5442), tcp("more.test", 5440)})
	f.address("y.corp.test")
	for _, r := range f.source.Report().Names {
		if r.Trouble != "" || !slices.Contains(r.Served, "tun") {
			t.Errorf("%+v", r)
		}
	}
	if n := len(f.source.listeners); n != 0 {
		t.Errorf("%d listeners", n)
	}
}

// A device that comes takes nothing away: connections go on, and for a while
// programs that looked the name up before reach it at its old address.
func TestListenersLinger(t *testing.T) {
	f := start(t, Options{Retry: 10 * time.Millisecond, Linger: time.Second})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	before := f.lookup("db.test") + ":5432"
	c := dial(t, before)
	st := f.accept()
	_ = st.Reply(tunnel.Connected, "")
	f.source.Lead(ranges)
	dial(t, before)
	f.accept()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := net.Dial("tcp", before); errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the listener stays")
		}
	}
	send(t, c, "x")
	expect(t, st, "x")
	f.source.Lead(hostnet.Ranges{})
	if got := f.lookup("db.test") + ":5432"; got != before {
		t.Errorf("%s became %s", before, got)
	}
	send(t, c, "y")
	expect(t, st, "y")
	dial(t, before)
}

// Without a way to tell programs, names are where they were.
func TestLeadUntold(t *testing.T) {
	f := start(t, Options{StartHosts: func(context.Context) (Hosts, error) { return nil, errors.New("no way") }})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	before := f.report("db.test")
	f.source.Lead(ranges)
	if r := f.report("db.test"); before.Address != "127.0.0.1" || r.Address != before.Address || r.Served[0] != before.Served[0] {
		t.Errorf("%+v, %+v before", r, before)
	}
	f.source.FoundByDNS(true)
	if r := f.report("db.test"); !ranges.V4.Contains(netip.MustParseAddr(r.Address)) {
		t.Errorf("%+v", r)
	}
}

// Every name has another number, as long as there are some.
func TestNumbers(t *testing.T) {
	n := newNumbers(testUID)
	if a, _ := n.give("early.test"); a.IsValid() {
		t.Error("an address without ranges")
	}
	n.lead(ranges)
	seen := map[netip.Addr]string{}
	for i := range maxNumbers {
		name := fmt.Sprintf("n%d.test", i)
		v4, v6 := n.give(name)
		if seen[v4] != "" || v4 == ranges.V4.Addr() || v4 == ranges.V4.Addr().Next() || !ranges.V4.Contains(v4) || !ranges.V6.Contains(v6) {
			t.Fatalf("%s is at %s, like %q", name, v4, seen[v4])
		}
		seen[v4] = name
	}
	if a, _ := n.give("more.test"); a.IsValid() {
		t.Errorf("%s is at %s", "more.test", a)
	}
	if a, _ := n.give("n7.test"); seen[a] != "n7.test" {
		t.Errorf("%s", a)
	}
}

func (f *fixture) address6(name string) netip.Addr {
	f.t.Helper()
	a, err := f.source.Address6(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}
