package offer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParse(t *testing.T) {
	list, problems := Parse([]peer.Published{
		{Name: "db", Host: "DB.corp.test", Ports: []peer.PublishedPort{{First: 5432, Last: 5432}}, Protocols: []string{"tcp"}, ByProgram: true},
		{Name: "odd", Host: "127.1", Protocols: []string{"tcp"}},
		{Name: "all", Host: "*.corp.test", Ports: []peer.PublishedPort{{First: 9, Last: 8}, {First: 0, Last: 3}, {First: 8, Last: 9}}, Protocols: []string{"udp", "sctp", "udp"}},
		{Name: "net", Host: "10.0.0.0/8", Protocols: []string{"icmp"}},
		{Name: "one", Host: "::ffff:10.0.0.1"},
	})
	want := []Resource{
		{Name: "db", Host: nethost.Pattern{Kind: nethost.Name, Name: "db.corp.test"}, Ports: []Ports{{5432, 5432}}, Networks: []string{TCP}, ByProgram: true},
		{Name: "all", Host: nethost.Pattern{Kind: nethost.Wildcard, Name: "corp.test"}, Ports: []Ports{{8, 9}}, Networks: []string{UDP}},
		{Name: "net", Host: nethost.Pattern{Kind: nethost.Prefix, Prefix: netip.MustParsePrefix("10.0.0.0/8")}, Networks: []string{ICMP}},
		{Name: "one", Host: nethost.Pattern{Kind: nethost.Address, Prefix: netip.MustParsePrefix("10.0.0.1/32")}},
	}
	if d := cmp.Diff(want, list, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), `"odd"`) {
		t.Errorf("problems: %v", problems)
	}
}

func TestCovers(t *testing.T) {
	r := Resource{Ports: []Ports{{80, 80}, {8000, 8010}}, Networks: []string{TCP, ICMP}}
	for _, c := range []struct {
		network string
		port    uint16
		want    bool
	}{{TCP, 80, true}, {TCP, 8000, true}, {TCP, 8010, true}, {TCP, 8011, false}, {TCP, 0, false}, {UDP, 80, false}, {ICMP, 0, true}} {
		if got := r.Covers(c.network, c.port); got != c.want {
			t.Errorf("%s %d: %v", c.network, c.port, got)
		}
	}
}
