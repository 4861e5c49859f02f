package bridge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bridge that is not there is told of, waited for, and given up.
func TestNoBridge(t *testing.T) {
	changed := make(chan struct{}, 10)
	for _, device := range []string{"no-such-bridge", "lo", "../lo"} {
		s := New(Options{Log: zerolog.Nop(), Device: device, Retry: time.Millisecond,
			Covers: func(string) bool { return true },
			Start: func(context.Context, string) (Host, netip.Prefix, error) {
				t.Errorf("addresses were added for %s", device)
				return nil, netip.Prefix{}, errors.New("no")
			},
			Changed: func() { changed <- struct{}{} },
		})
		if r := s.Report(); r.Note != "" {
			t.Errorf("before it is asked for: %+v", r)
		}
		set, err := offer.Parse([]peer.Published{{Name: "x", Host: "x.test"}})
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(set)
		<-changed
		if r := s.Report(); !strings.Contains(r.Note, "Nothing is served on the bridge") || len(r.Names) > 0 {
			t.Errorf("%+v", r)
		}
		s.Close()
		s.Apply(set)
		s.Close()
	}
	if len(changed) > 0 {
		t.Error("told again of what has not changed")
	}
}

// Whoever is in the bridge's network is let in, but for this host itself.
func TestAdmit(t *testing.T) {
	st := &standing{at: netip.MustParsePrefix("172.17.0.1/16")}
	st.here.at, st.here.all = time.Now().Add(time.Hour), []netip.Addr{netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("172.17.9.9")}
	for addr, want := range map[string]bool{
		"172.17.0.2": true, "172.17.255.9": true, "::ffff:172.17.0.3": true,
		"172.17.0.1": false, "172.17.9.9": false, "172.18.0.2": false, "127.0.0.1": false, "10.0.0.1": false, "fe80::1": false,
	} {
		who, err := st.admit(netip.MustParseAddr(addr))
		if (err == nil) != want || want && who.User != netip.MustParseAddr(addr).Unmap().String() {
			t.Errorf("%s: %+v %v", addr, who, err)
		}
	}
	lo := &standing{at: netip.MustParsePrefix("127.0.0.1/8")}
	if who, err := lo.admit(netip.MustParseAddr("127.0.0.1")); err == nil {
		t.Errorf("this host is let in as %+v", who)
	}
	if _, err := st.check(&net.UDPAddr{IP: net.IPv4(172, 17, 0, 2)}); err == nil {
		t.Error("what is no TCP client passed for one")
	}
}
