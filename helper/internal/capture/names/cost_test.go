//go:build linux

package names

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// A new name below a wildcard costs the same, whatever else is published.
func TestLookUpCost(t *testing.T) {
	cost := func(wide ...peer.Published) time.Duration {
		least := time.Hour
		t.Run(fmt.Sprint(len(wide)), func(t *testing.T) {
			f := start(t, Options{})
			f.source.FoundByDNS(true)
			f.apply(append(wide, wildcard("corp.test", 8080)))
			for i := range 40 {
				began := time.Now()
				f.address(fmt.Sprintf("n%d.corp.test", i))
				least = min(least, time.Since(began))
			}
		})
		return least
	}
	alone := cost()
	var wide []peer.Published
	for i := range 8 {
		p := tcp(fmt.Sprintf("wide%d.test", i))
		p.Protocols = []string{"tcp", "udp"}
		p.Ports = []peer.PublishedPort{{First: 1024, Last: 65535}}
		wide = append(wide, p)
	}
	if beside := cost(wide...); beside > 10*alone {
		t.Errorf("a look-up takes %v beside wide ranges, %v without", beside, alone)
	}
}

// A gateway that publishes new names again and again gets no more addresses than
// there are, and what it published first keeps working.
func TestAddressesRunOut(t *testing.T) {
	a := newAddresses(1000)
	a.place = &Place{Names: netip.MustParsePrefix("198.19.16.0/28")}
	done := make(chan int, 1)
	go func() {
		given := 0
		for i := range 40 {
			if a.of(fmt.Sprintf("host-%d.test", i)).IsValid() {
				given++
			}
		}
		done <- given
	}()
	select {
	case given := <-done:
		if given < 8 || given > 14 || !a.of("host-0.test").IsValid() {
			t.Errorf("%d addresses of 14 were given", given)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it looks for an address for ever")
	}
	if n := newAddresses(1000).most(); n > 1<<16 {
		t.Errorf("%d addresses of loopback are kept", n)
	}
}
