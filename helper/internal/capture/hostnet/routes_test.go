//go:build linux

package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"github.com/google/go-cmp/cmp"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// host is a container: a bridge with the editor beyond it, and a network besides.
func host() surroundings {
	s := surroundings{routes: []ownRoute{
		{prefix: netip.MustParsePrefix("0.0.0.0/0"), via: []netip.Addr{netip.MustParseAddr("172.17.0.1")}},
		{prefix: netip.MustParsePrefix("172.17.0.0/16")},
		{prefix: netip.MustParsePrefix("172.17.0.2/32"), local: true},
		{prefix: netip.MustParsePrefix("10.5.0.0/16")},
		{prefix: netip.MustParsePrefix("10.6.0.0/24"), twin: true},
		{prefix: netip.MustParsePrefix("fd01::/64")},
		{prefix: netip.MustParsePrefix("::/0"), via: []netip.Addr{netip.MustParseAddr("fd01::1")}},
	}}
	s.guarded = append(s.hops(), guarded{netip.MustParseAddr("10.240.0.9"), "the editor"},
		guarded{netip.MustParseAddr("10.5.0.53"), "the nameserver"}, guarded{metadata[0], "the cloud"})
	return s
}

func TestJudgeRoutes(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"10.20.0.0/16", ""},
		{"10.20.0.7/32", ""},
		{"fd77::/64", ""},
		{"100.64.0.0/10", ""},
		{"0.0.0.0/0", "all traffic"},
		{"::/0", "all traffic"},
		{"0.0.0.0/1", "0.0.0.0/8"},
		{"128.0.0.0/1", "169.254.0.0/16"},
		{"64.0.0.0/2", "127.0.0.0/8"},
		{"127.0.0.5/32", "loopback"},
		{"169.254.169.254/32", "link-local"},
		{"224.0.0.0/24", "multicast"},
		{"255.255.255.255/32", "reserved"},
		{"::1/128", "loopback"},
		{"fe80::/64", "link-local"},
		{"fc00::/6", "link-local"},
		{"ff02::/16", "multicast"},
		{"2000::/3", ""},
		{"172.17.0.0/16", "same addresses"},
		{"10.6.0.0/24", "another window"},
		{"172.17.0.2/32", "an address of this machine"},
		{"172.17.0.0/24", "around 172.17.0.1"}, // more specific than the network that it is in
		{"172.17.0.1/32", "172.17.0.1 is a next hop"},
		{"172.16.0.0/12", "local 172.17.0.0/16"}, // whose longer prefix keeps the next hop where it is
		{"10.5.0.0/24", "around 10.5.0.53"},
		{"10.5.0.53/32", "10.5.0.53 is the nameserver"},
		{"10.0.0.0/8", "local 10.5.0.0/16 10.6.0.0/24 around 10.240.0.9"},
		{"10.240.0.0/24", "around 10.240.0.9"},
		{"10.0.0.0/9", "local 10.5.0.0/16 10.6.0.0/24"},
		{"168.63.129.16/32", "168.63.129.16 is the cloud"},
		{"168.0.0.0/8", "around 168.63.129.16"},
		{"fd01::/80", "around fd01::1"},
		{"fd01::1/128", "fd01::1 is a next hop"},
		{"fd00::/8", "local fd01::/64"},
	} {
		local, err := host().judge(netip.MustParsePrefix(c.prefix))
		got := ""
		for _, l := range local {
			got += " " + l.String()
		}
		if got != "" {
			got = "local" + got
		}
		if err == nil {
			var out []guarded
			_, out, err = host().around(netip.MustParsePrefix(c.prefix))
			for _, g := range out {
				got = strings.TrimSpace(got + " around " + g.addr.String())
			}
		}
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.prefix, got, c.want)
		}
	}
}

func TestCheckRoutes(t *testing.T) {
	for _, bad := range [][]netip.Prefix{
		{netip.Prefix{}},
		{netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 8)},
		{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)},
		prefixes("10.0.0.0/8", "10.0.0.0/8"),
		make([]netip.Prefix, MaxRoutes+1),
	} {
		if err := checkRoutes(bad); err == nil {
			t.Errorf("%v is taken", bad[0])
		}
	}
}

// Routes are changed one by one: what stays is not interrupted.
func TestSetRoutes(t *testing.T) {
	var did []string
	change := func(_ *Device, add bool, p netip.Prefix) error {
		verb := "-"
		if add {
			verb = "+"
		}
		if p == netip.MustParsePrefix("10.30.0.0/16") {
			return errors.New("no")
		}
		did = append(did, verb+p.String())
		return nil
	}
	look := func(*Device) (surroundings, error) { return host(), nil }
	tun := tunnel{}
	if _, err := tun.setRoutes(nil, look, change); err == nil {
		t.Error("routes without a device")
	}
	tun = tunnel{device: &Device{Addresses: []netip.Addr{netip.MustParseAddr("198.18.1.1")}}, routes: map[netip.Prefix]bool{}}
	set := func(list ...string) (refused []string) {
		t.Helper()
		reports, err := tun.setRoutes(prefixes(list...), look, change)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range reports {
			if r.Prefix.String() != list[i] {
				t.Errorf("report %d is on %s", i, r.Prefix)
			}
			if r.Refused != "" {
				refused = append(refused, r.Prefix.String())
			}
		}
		return refused
	}
	if d := cmp.Diff([]string{"0.0.0.0/0", "fd77::/64", "10.30.0.0/16"}, set("10.20.0.0/16", "0.0.0.0/0", "fd77::/64", "10.30.0.0/16", "10.21.0.0/16")); d != "" {
		t.Error(d)
	}
	set("10.21.0.0/16", "10.22.0.0/16")
	set()
	if d := cmp.Diff([]string{"+10.20.0.0/16", "+10.21.0.0/16", "-10.20.0.0/16", "+10.22.0.0/16"}, did[:4]); d != "" {
		t.Error(d)
	}
	if len(did) != 6 || len(tun.routes) != 0 {
		t.Errorf("in the end %v, %v", did, tun.routes)
	}
}

// A network with an address in it that has to stay as it is becomes several, which
// make up the whole without that address.
func TestRoutesAround(t *testing.T) {
	s := surroundings{routes: host().routes}
	for _, a := range []string{"10.99.0.2", "10.99.0.3", "10.240.0.9", "10.6.0.7", "fd77::5"} {
		s.guarded = append(s.guarded, guarded{netip.MustParseAddr(a), "a nameserver of this machine"})
	}
	for _, text := range []string{"10.0.0.0/8", "10.99.0.2/31", "10.99.0.0/24", "fd77::/64"} {
		p := netip.MustParsePrefix(text)
		parts, out, err := s.around(p)
		if text == "10.99.0.2/31" {
			if err == nil {
				t.Errorf("%s: %v %v", p, parts, out)
			}
			continue
		}
		if err != nil || len(parts) < 2 || len(parts) > 80 {
			t.Fatalf("%s: %d parts, %v", p, len(parts), err)
		}
		covered := func(a netip.Addr) (n int) {
			for _, part := range parts {
				if part.Contains(a) {
					n++
				}
			}
			return n
		}
		for _, g := range s.guarded {
			if n := covered(g.addr); n != 0 && g.addr != netip.MustParseAddr("10.6.0.7") { // whose longer route goes first
				t.Errorf("%s: %s is taken in", p, g.addr)
			}
		}
		last := p.Addr()
		for _, a := range []netip.Addr{p.Addr(), netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.4"), netip.MustParseAddr("10.240.0.8"),
			netip.MustParseAddr("10.240.0.10"), netip.MustParseAddr("10.255.255.255"), netip.MustParseAddr("fd77::4"), netip.MustParseAddr("fd77::ffff:ffff:ffff:ffff")} {
			if p.Contains(a) && covered(a) != 1 {
				t.Errorf("%s: %s is in %d parts", p, a, covered(a))
			}
		}
		if last != parts[0].Addr() {
			t.Errorf("%s begins at %s", p, parts[0])
		}
	}
	many := surroundings{}
	for i := range 100 {
		many.guarded = append(many.guarded, guarded{netip.AddrFrom4([4]byte{10, byte(i), 7, 7}), "the editor"})
	}
	if parts, _, err := many.around(netip.MustParsePrefix("10.0.0.0/8")); err == nil {
		t.Errorf("%d parts", len(parts))
	}
	// The parts come and go with the network.
	var there []string
	change := func(_ *Device, add bool, p netip.Prefix) error {
		if add {
			there = append(there, p.String())
		} else {
			there = slices.DeleteFunc(there, func(s string) bool { return s == p.String() })
		}
		return nil
	}
	tun := tunnel{device: &Device{Addresses: []netip.Addr{netip.MustParseAddr("198.18.1.1")}}, routes: map[netip.Prefix]bool{}}
	look := func(*Device) (surroundings, error) { return s, nil }
	reports, err := tun.setRoutes(prefixes("10.99.0.0/29"), look, change)
	if err != nil || reports[0].Refused != "" || len(reports[0].Around) != 2 || !strings.Contains(reports[0].Around[0], "10.99.0.2, a nameserver") {
		t.Errorf("%+v %v", reports, err)
	}
	if d := cmp.Diff([]string{"10.99.0.0/31", "10.99.0.4/30"}, there); d != "" {
		t.Error(d)
	}
	if _, err := tun.setRoutes(nil, look, change); err != nil || len(there) != 0 {
		t.Errorf("%v stay, %v", there, err)
	}
}

func TestConnections(t *testing.T) {
	socket := func(local, remote string, state uint8, uid uint32) kernelnet.Socket {
		return kernelnet.Socket{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote), State: state, UID: uid, Inode: 1}
	}
	table := tableOf([]kernelnet.Socket{
		socket("0.0.0.0:22", "0.0.0.0:0", kernelnet.Listen, 0),
		socket("10.78.0.2:22", "10.78.0.1:50000", kernelnet.Established, 0),
		socket("10.78.0.2:22", "10.78.0.3:50000", kernelnet.CloseWait, 0),
		socket("10.78.0.2:40961", "10.78.0.4:443", kernelnet.Established, 1000),
		socket("127.0.0.1:22", "127.0.0.1:50000", kernelnet.Established, 0),
		socket("10.78.0.2:40962", "10.78.0.5:443", kernelnet.Established, 1001),
		socket("10.78.0.2:40963", "10.78.0.6:443", kernelnet.Established, 0),
		socket("198.18.0.1:40964", "10.20.0.7:443", kernelnet.Established, 1000),
	})
	if d := cmp.Diff("[10.78.0.1]", netipText(table.inbound())); d != "" {
		t.Error(d)
	}
	// Neither another user's nor one by a device of ours, which is the last.
	out := table.outbound(1000)
	slices.SortFunc(out, netip.Addr.Compare)
	if d := cmp.Diff("[10.78.0.4 10.78.0.6]", netipText(out)); d != "" {
		t.Error(d)
	}
}

func netipText(all []netip.Addr) string {
	var s []string
	for _, a := range all {
		s = append(s, a.String())
	}
	return "[" + strings.Join(s, " ") + "]"
}

// The subcommand takes whatever line a caller sends, and changes nothing but its own.
func FuzzHandle(f *testing.F) {
	for _, seed := range []string{`{"tun":true}`, `{"routes":["10.0.0.0/8","fd00::/8"]}`, `{"routes":[""]}`, `{"routes":null}`,
		`{"listen":{"at":"127.9.9.9:80"}}`, `{"resolver":"127.1.2.3"}`, `{"hosts":[{"address":"127.1.2.3","names":["a.test"]}]}`} {
		f.Add([]byte(seed))
	}
	path := f.TempDir() + "/hosts"
	o := Options{HostsPath: path, ResolvPath: path + ".resolv", RunDir: path + ".run"}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := newChanges(o, "1-1")
		_ = c.handle(line, strings.NewReader(""), new(answer))
		if c.tun.device != nil || len(c.tun.routes) > 0 {
			t.Fatal("a device without a caller to have it")
		}
	})
}

// Names get ranges that nothing of this host's own has to do with.
func TestFreeRanges(t *testing.T) {
	free := func(s surroundings, refuse ...string) string {
		r, ok := s.freeRanges(func(p netip.Prefix) bool { return !slices.Contains(refuse, p.String()) })
		if !ok {
			return "none"
		}
		if a, b := r.At(2); !onDevice(a) || !onDevice(b) {
			t.Errorf("%s and %s are no addresses of a device", a, b)
		}
		return r.V4.String() + " " + r.V6.String()
	}
	with := func(more ...string) surroundings {
		s := host()
		for _, p := range more {
			s.routes = append(s.routes, ownRoute{prefix: netip.MustParsePrefix(p)})
		}
		return s
	}
	watched := host()
	watched.guarded = append(watched.guarded, guarded{netip.MustParseAddr("198.19.250.1"), "a nameserver"})
	for what, c := range map[string]struct{ got, want string }{
		"nothing there":         {free(host()), "198.19.240.0/20 fdc5:7a0e:93d1:13f0::/64"},
		"an address there":      {free(with("198.19.255.1/32")), "198.19.224.0/20 fdc5:7a0e:93d1:13e0::/64"},
		"one of IPv6":           {free(with("fdc5:7a0e:93d1:13f0::9/128")), "198.19.224.0/20 fdc5:7a0e:93d1:13e0::/64"},
		"a network around":      {free(with("198.19.0.0/16")), "198.18.240.0/20 fdc5:7a0e:93d1:12f0::/64"},
		"all of it taken":       {free(with("198.16.0.0/14")), "none"},
		"a guarded address":     {free(watched), "198.19.224.0/20 fdc5:7a0e:93d1:13e0::/64"},
		"taken at that moment":  {free(host(), "198.19.240.0/20", "198.19.224.0/20"), "198.19.208.0/20 fdc5:7a0e:93d1:13d0::/64"},
		"a default route is no": {free(with("0.0.0.0/0", "::/0")), "198.19.240.0/20 fdc5:7a0e:93d1:13f0::/64"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", what, c.got, c.want)
		}
	}
}

func TestRangesNumbers(t *testing.T) {
	r := Ranges{netip.MustParsePrefix("198.19.240.0/20"), netip.MustParsePrefix("fdc5:7a0e:93d1:13f0::/64")}
	v4, v6 := r.At(0xabc)
	if v4.String() != "198.19.250.188" || v6.String() != "fdc5:7a0e:93d1:13f0::abc" {
		t.Errorf("%s %s", v4, v6)
	}
	for a, want := range map[string]string{
		"198.19.250.188": "2748 true", "fdc5:7a0e:93d1:13f0::abc": "2748 true", "fdc5:7a0e:93d1:13f0::1:abc": "2748 false",
		"198.19.128.7": "7 false", "fdc5:7a0e:93d1:13e0::7": "7 false", "::ffff:198.19.250.188": "2748 false",
	} {
		n, ok := r.Number(netip.MustParseAddr(a))
		if got := fmt.Sprint(n, ok); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
	if v4, v6 := (Ranges{}).At(1); v4.IsValid() || v6.IsValid() {
		t.Errorf("nowhere: %s %s", v4, v6)
	}
	if n, ok := (Ranges{}).Number(netip.Addr{}); ok {
		t.Errorf("nothing is number %d", n)
	}
}

// No resource takes addresses from names; a wider network leaves them out.
func TestRoutesSpareNames(t *testing.T) {
	d := &Device{Addresses: []netip.Addr{netip.MustParseAddr("198.19.240.1")}, Names: Ranges{V4: netip.MustParsePrefix("198.19.240.0/20")}}
	tun := tunnel{device: d, routes: map[netip.Prefix]bool{}}
	look := func(*Device) (surroundings, error) { return host(), nil }
	reports, err := tun.setRoutes(prefixes("198.19.250.0/24", "198.19.240.0/20", "198.19.0.0/16"), look, func(*Device, bool, netip.Prefix) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if reports[0].Refused == "" || reports[1].Refused == "" || reports[2].Refused != "" || len(reports[2].Local) != 1 {
		t.Errorf("%+v", reports)
	}
}
