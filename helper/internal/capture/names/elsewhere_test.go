//go:build linux

package names

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// What another Source serves is left alone: neither a port nor a line of the hosts file
// is taken. Connections that are open go on.
func TestElsewhere(t *testing.T) {
	var away atomic.Bool
	f := start(t, Options{Elsewhere: func(network, host string, port uint16) bool {
		return away.Load() && (host == "db.test" && port == 5432 || host == "db.test" && network == "lookup" || strings.HasSuffix(host, ".wild.test"))
	}})
	f.source.FoundByDNS(true)
	f.apply([]peer.Published{tcp("db.test", 5432, 5433), tcp("*.wild.test", 5432)})
	c := f.dial("db.test", 5432)
	st := f.accept()
	send(t, c, "before")
	expect(t, st, "before")
	away.Store(true)
	f.source.Refresh()
	if r := f.report("db.test"); r.Trouble != "port 5432: "+elsewhereNote || len(r.Served) != 1 || r.Served[0] != "db.test:5433" {
		t.Errorf("%+v", r)
	}
	if a, err := f.source.Address("x.wild.test"); err == nil {
		t.Errorf("a name of another one is at %s", a)
	}
	send(t, c, "after")
	expect(t, st, "after")
	away.Store(false)
	f.source.Refresh()
	if r := f.report("db.test"); r.Trouble != "" || r.Served[0] != "db.test:5432-5433" {
		t.Errorf("%+v", r)
	}
	if _, err := f.source.Address("x.wild.test"); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	_ = st.Close()
}
