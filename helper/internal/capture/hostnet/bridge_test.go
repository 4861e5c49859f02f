package hostnet

import (
	"net/netip"
	"testing"
)

func TestBridgeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"docker0": true, "br-0f3a": true, "br_x.7": true, "": false, "..": false, ".": false, "a/b": false, "../../x": false, "a b": false,
		"sixteen-letters-": false, "x\x00": false, "ü": false,
	} {
		if got := CheckBridge(name) == nil; got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, name := range []string{"lo", "no-such-bridge", "../lo"} {
		if a, err := BridgeAddress(name); err == nil {
			t.Errorf("%s is a bridge at %s", name, a)
		}
	}
}

// What is opened with privilege on a bridge is a low port of the names' addresses,
// or of the host's own there, for what comes by that bridge.
func TestListenOnBridge(t *testing.T) {
	s := served{name: "docker0", own: netip.MustParseAddr("172.17.0.1"), names: netip.MustParsePrefix("198.19.16.0/20")}
	for _, c := range []struct {
		device, at string
		want       bool
	}{
		{"docker0", "172.17.0.1:53", true},
		{"docker0", "198.19.17.2:443", true},
		{"docker0", "198.19.17.2:8443", false},
		{"docker0", "198.19.17.2:0", false},
		{"docker0", "198.19.32.1:443", false},
		{"docker0", "172.17.0.2:53", false},
		{"docker0", "127.0.0.1:53", false},
		{"docker0", "0.0.0.0:53", false},
		{"eth0", "172.17.0.1:53", false},
		{"", "172.17.0.1:53", false},
	} {
		err := s.checkListen(endpoint{At: netip.MustParseAddrPort(c.at), Device: c.device})
		if (err == nil) != c.want {
			t.Errorf("%s at %q: %v", c.at, c.device, err)
		}
	}
	if err := new(served).checkListen(endpoint{At: netip.MustParseAddrPort("172.17.0.1:53"), Device: "docker0"}); err == nil {
		t.Error("a port was opened without a bridge")
	}
	if err := new(served).end(); err != nil {
		t.Error(err)
	}
}

// A range is taken that leads nowhere on this host, and that nobody has.
func TestFreeRange(t *testing.T) {
	prefixes := func(list ...string) (own []ownRoute) {
		for _, p := range list {
			own = append(own, ownRoute{prefix: netip.MustParsePrefix(p)})
		}
		return own
	}
	all := func(netip.Prefix) bool { return true }
	for _, c := range []struct {
		own   []ownRoute
		claim func(netip.Prefix) bool
		want  string
	}{
		{prefixes("0.0.0.0/0", "10.0.0.0/8"), all, "198.19.0.0/20"},
		{prefixes("198.19.1.2/32", "198.19.16.0/21"), all, "198.19.32.0/20"},
		{prefixes("198.18.0.0/15"), all, "100.127.0.0/20"},
		{nil, func(p netip.Prefix) bool { return p.Addr().As4()[2] == 48 }, "198.19.48.0/20"},
		{prefixes("198.18.0.0/15", "100.64.0.0/10"), all, "invalid Prefix"},
		{nil, func(netip.Prefix) bool { return false }, "invalid Prefix"},
	} {
		got, err := freeRange(c.own, c.claim)
		if got.String() != c.want || (err == nil) != got.IsValid() {
			t.Errorf("%v: %s %v, want %s", c.own, got, err, c.want)
		}
	}
}
