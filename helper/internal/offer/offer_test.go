package offer

import (
	"slices"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// Which program asks matters where a resource is for some alone.
func TestByProgram(t *testing.T) {
	ports := []peer.PublishedPort{{First: 443, Last: 443}}
	of := func(host string, byProgram bool) peer.Published {
		return peer.Published{Name: host, Host: host, Ports: ports, Protocols: []string{"tcp"}, ByProgram: byProgram}
	}
	m := parse(t, []peer.Published{of("web.test", false), of("db.test", true), of("*.dev.test", true), of("10.0.0.0/8", true), of("10.1.0.0/16", false)})
	for host, want := range map[string]bool{"web.test": false, "db.test": true, "DB.test.": true, "a.dev.test": true, "10.2.0.1": true, "::ffff:10.2.0.1": true, "11.0.0.1": false} {
		if got := m.ByProgram("tcp", host, 443); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	if m.ByProgram("dns", "db.test", 443) || m.ByProgram("tcp", "db.test", 80) {
		t.Error("it matters for what is no connection of the resource")
	}
}

func TestCovers(t *testing.T) {
	port := []peer.PublishedPort{{First: 443, Last: 443}, {First: 8000, Last: 8010}}
	tcp := []string{"tcp"}
	m := parse(t, []peer.Published{
		{Name: "web", Host: "web.corp.test", Ports: port, Protocols: tcp},
		{Name: "dns", Host: "web.corp.test", Ports: []peer.PublishedPort{{First: 53, Last: 53}}, Protocols: []string{"udp"}},
		{Name: "all", Host: "*.dev.corp.test", Ports: port, Protocols: tcp},
		{Name: "net", Host: "10.1.0.0/16", Ports: port, Protocols: tcp},
		{Name: "one", Host: "fd00::1", Ports: port, Protocols: tcp},
	})
	for _, c := range []struct {
		network, host string
		port          uint16
		want          bool
	}{
		{"tcp", "web.corp.test", 443, true},
		{"tcp", "WEB.corp.test.", 8005, true},
		{"udp", "web.corp.test", 443, false},
		{"udp", "web.corp.test", 53, true},
		{"tcp", "web.corp.test", 444, false},
		{"tcp", "other.corp.test", 443, false},
		{"tcp", "a.dev.corp.test", 443, true},
		{"tcp", "a.b.dev.corp.test", 443, true},
		{"tcp", "dev.corp.test", 443, false},
		{"tcp", "10.1.2.3", 443, true},
		{"tcp", "::ffff:10.1.2.3", 443, true},
		{"tcp", "10.2.2.3", 443, false},
		{"tcp", "fd00::1", 443, true},
		{"tcp", "fd00::2", 443, false},
		{"tcp", "", 443, false},
		{"lookup", "web.corp.test", 0, true},
		{"lookup", "example.com", 0, false},
	} {
		if got := m.Covers(c.network, c.host, c.port); got != c.want {
			t.Errorf("%s %s:%d: %v, want %v", c.network, c.host, c.port, got, c.want)
		}
	}
}

// Programs find the ports of localhost by no name and no address of the publication.
func TestLocal(t *testing.T) {
	m := parse(t, []peer.Published{
		{Name: "adb", Host: "localhost", Ports: []peer.PublishedPort{{First: 5037, Last: 5037}}, Protocols: []string{"tcp"}},
		{Name: "db", Host: "localhost", Ports: []peer.PublishedPort{{First: 15432, Last: 15432}}, Protocols: []string{"tcp"}, ByProgram: true},
	})
	if len(m.Local()) != 2 || !m.All[0].Local || !m.All[1].Local || m.HasNames() || len(m.Names()) != 0 || len(m.Exact("localhost")) != 0 {
		t.Errorf("%+v", m)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if m.Covers("tcp", host, 5037) || m.Covers("lookup", host, 0) {
			t.Errorf("%s is covered", host)
		}
	}
	if m.ByProgram("tcp", "localhost", 5037) || !m.ByProgram("tcp", "localhost", 15432) {
		t.Error("it is not known which of them admit some programs only")
	}
}

func parse(t *testing.T, published []peer.Published) *Set {
	t.Helper()
	s, err := Parse(published)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMerge(t *testing.T) {
	got := Merge([]Range{{First: 80, Last: 90}, {First: 0, Last: 2}, {First: 91, Last: 95}, {First: 7, Last: 5}, {First: 85, Last: 86}, {First: 65535, Last: 65535}, {First: 65000, Last: 65535}})
	if want := []Range{{First: 1, Last: 2}, {First: 80, Last: 95}, {First: 65000, Last: 65535}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := Count(got); n != 2+16+536 {
		t.Errorf("%d ports", n)
	}
	for port, want := range map[uint16]bool{1: true, 3: false, 80: true, 95: true, 96: false, 65535: true} {
		if Contains(got, port) != want {
			t.Errorf("port %d: %v", port, !want)
		}
	}
}

// A kind of host that this version does not know stays in the list, since the
// report has one entry for each resource.
func TestUnknownHost(t *testing.T) {
	s := parse(t, []peer.Published{{Host: "*.10.0.0.1"}, {Host: "a b"}, {Host: ""}, {Host: "1.2"}, {Host: "db.test"}})
	if len(s.All) != 5 || s.All[0].Known || s.All[1].Known || s.All[2].Known || s.All[3].Known || !s.All[4].Known {
		t.Errorf("%+v", s.All)
	}
	if names := s.Names(); !slices.Equal(names, []string{"db.test"}) {
		t.Errorf("%q", names)
	}
}

// A gateway cannot publish more than the settings can hold.
func TestParseIsBounded(t *testing.T) {
	for what, published := range map[string][]peer.Published{
		"resources": make([]peer.Published, maxResources+1),
		"ports":     {{Host: "db.test", Ports: make([]peer.PublishedPort, maxRanges+1)}},
		"a name":    {{Host: "db.test", Name: strings.Repeat("x", maxName+1)}},
	} {
		if _, err := Parse(published); err == nil {
			t.Errorf("too many bytes of %s pass", what)
		}
	}
}
