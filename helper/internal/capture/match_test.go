package capture

import (
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// Which program asks matters where a resource is for some alone.
func TestMatcherByProgram(t *testing.T) {
	ports := []peer.PublishedPort{{First: 443, Last: 443}}
	of := func(host string, byProgram bool) peer.Published {
		return peer.Published{Name: host, Host: host, Ports: ports, Protocols: []string{"tcp"}, ByProgram: byProgram}
	}
	m := newMatcher([]peer.Published{of("web.test", false), of("db.test", true), of("*.dev.test", true), of("10.0.0.0/8", true), of("10.1.0.0/16", false)})
	for host, want := range map[string]bool{"web.test": false, "db.test": true, "DB.test.": true, "a.dev.test": true, "10.2.0.1": true, "::ffff:10.2.0.1": true, "11.0.0.1": false} {
		if got := m.byProgram("tcp", host, 443); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	if m.byProgram("dns", "db.test", 443) || m.byProgram("tcp", "db.test", 80) {
		t.Error("it matters for what is no connection of the resource")
	}
}

func TestMatcher(t *testing.T) {
	port := []peer.PublishedPort{{First: 443, Last: 443}, {First: 8000, Last: 8010}}
	tcp := []string{"tcp"}
	m := newMatcher([]peer.Published{
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
		if got := m.covers(c.network, c.host, c.port); got != c.want {
			t.Errorf("%s %s:%d: %v, want %v", c.network, c.host, c.port, got, c.want)
		}
	}
}
