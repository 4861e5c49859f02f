package judge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/google/go-cmp/cmp"
)

// machine is the surroundings of the policy tests.
var machine = Surroundings{
	Own:      dialtest.Own,
	OwnPorts: []uint16{7777},
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// special lists what nothing but a resource of that very address reaches, and
// what the reason must say.
var special = map[string]string{
	"127.0.0.1": "loopback", "127.255.255.254": "loopback", "::1": "loopback",
	"169.254.1.1": "link-local", "fe80::1": "link-local",
	"0.0.0.0": "stands for this machine", "0.1.2.3": "stands for this machine", "::": "stands for this machine",
	"224.0.0.251": "multicast", "239.255.255.250": "multicast", "ff02::fb": "multicast",
	"255.255.255.255": "broadcast", "192.0.2.255": "broadcast",
	"192.0.2.10": "of this machine", "198.51.100.1": "of this machine", "2001:db8:1::10": "of this machine",
	"169.254.169.254": "metadata", "168.63.129.16": "metadata", "100.100.100.200": "metadata", "fd00:ec2::254": "metadata",
	"64:ff9b::127.0.0.1": "loopback", "64:ff9b::169.254.169.254": "metadata", "64:ff9b::192.0.2.10": "of this machine",
	"64:ff9b:1::127.0.0.1": "loopback", "64:ff9b:1:7f00:0:100::": "loopback", "64:ff9b:1:a9:fe:a9fe::": "metadata",
	"64:ff9b:1:0:7f:1::": "loopback", "64:ff9b:1:aaaa:bbbb::7f00:1": "loopback", "64:ff9b:1::": "stands for this machine",
	"2002:7f00:1::1": "loopback", "2002:a9fe:a9fe::": "metadata", "2002:e000:fb::": "multicast",
	"::127.0.0.1": "loopback", "::ffff:0:127.0.0.1": "loopback",
	"2001:0:7f00:1::": "loopback", "2001:0:808:808:0:0:80ff:fffe": "loopback",
	"2001:db8::5efe:127.0.0.1": "loopback", "2001:db8::200:5efe:169.254.169.254": "metadata",
}

var ordinary = []string{
	"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.127.255.254", "8.8.8.8", "192.0.2.9", "192.0.2.0", "198.51.100.2",
	"fd12::1", "2001:db8:2::1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:a00:0:100::", "2002:a00:1::1", "2001:db8::5efe:10.0.0.1",
}

func TestSpecialAddressesAreRefused(t *testing.T) {
	set := resource.NewSet(dialtest.Parse(t, `[
		{"host": "*.corp.test", "ports": ["1-65535"], "protocols": ["tcp", "udp"]},
		{"host": "exact.test", "ports": ["1-65535"]},
		{"host": "renamed.test", "ports": ["1-65535"], "as": "renamed.causeway.test"},
		{"host": "0.0.0.0/0", "ports": ["1-65535"]},
		{"host": "::/0", "ports": ["1-65535"]},
	]`))
	// Each address is reached by names that resolve to it and as a literal.
	try := func(a string) (out map[string]string) {
		out = map[string]string{}
		for _, host := range []string{"x.corp.test", "exact.test", "renamed.causeway.test", a} {
			m, err := set.Match(resource.TCP, host, 80)
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			v := Addresses(m, []netip.Addr{addr(a)}, machine)
			if len(v.Allowed)+len(v.Refused) != 1 {
				t.Fatalf("%s: %+v", host, v)
			}
			out[host] = v.Reason()
		}
		return out
	}
	for a, class := range special {
		for host, reason := range try(a) {
			if !strings.Contains(reason, class) {
				t.Errorf("%s by %s: %q, want %q", a, host, reason, class)
			}
		}
		// In mapped form too.
		if a := addr(a); a.Is4() {
			mapped := netip.AddrFrom16(a.As16())
			m, _ := set.Match(resource.TCP, "x.corp.test", 80)
			if v := Addresses(m, []netip.Addr{mapped}, machine); len(v.Allowed) != 0 {
				t.Errorf("%s is allowed", mapped)
			}
		}
		// That very address in a resource is what it takes.
		very := dialtest.Parse(t, `[{"host": "`+a+`", "ports": [80]}]`)
		m, err := resource.NewSet(very).Match(resource.TCP, a, 80)
		if err != nil {
			t.Fatal(err)
		}
		if v := Addresses(m, []netip.Addr{addr(a)}, machine); len(v.Allowed) != 1 {
			t.Errorf("%s, given as such: %s", a, v.Reason())
		}
	}
	for _, a := range ordinary {
		for host, reason := range try(a) {
			if reason != "" {
				t.Errorf("%s by %s: %s", a, host, reason)
			}
		}
	}
}

func TestZonesAndNothingAreRefused(t *testing.T) {
	m := resource.Match{Name: "a.test", Port: 80, Resource: dialtest.Parse(t, `[{"host": "a.test", "ports": [80]}]`)[0]}
	v := Addresses(m, []netip.Addr{addr("fe80::1%eth0"), addr("fd00::1%eth0"), {}}, machine)
	if len(v.Allowed) != 0 || len(v.Refused) != 3 {
		t.Errorf("%+v", v)
	}
}

func TestLocalhost(t *testing.T) {
	r := dialtest.Parse(t, `[{"host": "localhost", "ports": [3000, 7777], "as": "laptop.test"}]`)
	set := resource.NewSet(r)
	m, err := set.Match(resource.TCP, "laptop.test", 3000)
	if err != nil {
		t.Fatal(err)
	}
	v := Addresses(m, []netip.Addr{addr("127.0.0.1"), addr("::1"), addr("192.0.2.10"), addr("10.0.0.1")}, machine)
	if d := cmp.Diff([]netip.Addr{addr("127.0.0.1"), addr("::1")}, v.Allowed, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if _, err := set.Match(resource.TCP, "laptop.test", 3001); err == nil {
		t.Error("a port that is not listed matches")
	}
}

func TestOwnPortsAreRefused(t *testing.T) {
	for _, c := range []struct{ src, host, address string }{
		{`{"host": "localhost", "ports": [7777], "as": "laptop.test"}`, "laptop.test", "127.0.0.1"},
		{`{"host": "localhost", "ports": ["80:7777"], "as": "laptop.test"}`, "laptop.test", "::1"},
		{`{"host": "127.0.0.1", "ports": [7777]}`, "127.0.0.1", "127.0.0.1"},
		{`{"host": "0.0.0.0", "ports": [7777]}`, "0.0.0.0", "0.0.0.0"},
		{`{"host": "0.0.0.1", "ports": [7777]}`, "0.0.0.1", "0.0.0.1"},
		{`{"host": "192.0.2.10", "ports": [7777]}`, "192.0.2.10", "192.0.2.10"},
		{`{"host": "64:ff9b::7f00:1", "ports": [7777]}`, "64:ff9b::7f00:1", "64:ff9b::7f00:1"},
	} {
		port := uint16(7777)
		list := dialtest.Parse(t, "["+c.src+"]")
		if list[0].Ports[0].Listen != 0 {
			port = list[0].Ports[0].Listen
		}
		m, err := resource.NewSet(list).Match(resource.TCP, c.host, port)
		if err != nil {
			t.Fatal(err)
		}
		if v := Addresses(m, []netip.Addr{addr(c.address)}, machine); len(v.Allowed) != 0 || !strings.Contains(v.Reason(), "Causeway itself") {
			t.Errorf("%s: %+v", c.src, v)
		}
	}
	// Elsewhere it is a port like any other.
	m := resource.Match{Addr: addr("10.0.0.1"), Port: 7777, Resource: dialtest.Parse(t, `[{"host": "10.0.0.1", "ports": [7777]}]`)[0]}
	if v := Addresses(m, []netip.Addr{m.Addr}, machine); len(v.Allowed) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestAddressesRestrictAName(t *testing.T) {
	r := dialtest.Parse(t, `[{"host": "a.test", "ports": [80], "addresses": ["10.1.0.0/16", "127.0.0.0/8", "2001:db8:2::/48"]}]`)[0]
	m := resource.Match{Name: "a.test", Port: 80, Resource: r}
	for a, want := range map[string]bool{
		"10.1.2.3": true, "10.2.0.1": false, "2001:db8:2::1": true, "2001:db8:3::1": false, "64:ff9b::10.1.2.3": true, "64:ff9b::10.2.0.1": false,
		"127.0.0.1": false, // a restriction gives nothing
	} {
		if v := Addresses(m, []netip.Addr{addr(a)}, machine); (len(v.Allowed) == 1) != want {
			t.Errorf("%s: %+v", a, v)
		}
	}
}

// A name may lead to a special address if the resource lists exactly that address.
func TestListedAddressesAreTheLastWord(t *testing.T) {
	for a := range special {
		if netip.MustParseAddr(a) != netip.MustParseAddr(a).Unmap() {
			continue
		}
		r := dialtest.Parse(t, `[{"host": "*.test", "ports": [80, 7777], "addresses": ["`+a+`"]}]`)[0]
		m := resource.Match{Name: "a.test", Port: 80, Resource: r}
		if v := Addresses(m, []netip.Addr{netip.MustParseAddr(a)}, machine); len(v.Allowed) != 1 {
			t.Errorf("%s: %s", a, v.Reason())
		}
		if m.Port = 7777; nethost.IsLocal(netip.MustParseAddr(a), machine.Own) {
			if v := Addresses(m, []netip.Addr{netip.MustParseAddr(a)}, machine); len(v.Allowed) != 0 {
				t.Errorf("%s: this helper's own port is reached", a)
			}
		}
	}
	m := resource.Match{Name: "a.test", Port: 80, Resource: dialtest.Parse(t, `[{"host": "a.test", "ports": [80]}]`)[0]}
	for a, hinted := range map[string]bool{"127.0.0.1": true, "192.0.2.10": true, "169.254.1.1": true, "169.254.169.254": false, "224.0.0.1": false} {
		v := Addresses(m, []netip.Addr{netip.MustParseAddr(a)}, machine)
		if len(v.Allowed) != 0 || strings.Contains(v.Reason(), `list "`+a+`" in the resource's "addresses"`) != hinted {
			t.Errorf("%s: %+v", a, v)
		}
	}
}

func TestJudgeKeepsOrderAndBounds(t *testing.T) {
	m := resource.Match{Name: "a.test", Port: 80, Resource: dialtest.Parse(t, `[{"host": "a.test", "ports": [80]}]`)[0]}
	v := Addresses(m, []netip.Addr{addr("10.0.0.2"), addr("127.0.0.1"), addr("10.0.0.1"), addr("::ffff:10.0.0.2")}, machine)
	if len(v.Allowed) != 2 || v.Allowed[0] != addr("10.0.0.2") || v.Allowed[1] != addr("10.0.0.1") || len(v.Refused) != 1 {
		t.Errorf("%+v", v)
	}
	var many []netip.Addr
	for a := addr("10.0.0.0"); len(many) < 1000; a = a.Next() {
		many = append(many, a)
	}
	if v := Addresses(m, many, machine); len(v.Allowed) != MaxAddresses {
		t.Errorf("%d of 1000 addresses are dialled", len(v.Allowed))
	}
}
