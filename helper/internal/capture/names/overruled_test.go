//go:build linux

package names

import (
	"context"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// overrulingHosts is a hosts file in which other lines have names of ours.
type overrulingHosts struct {
	fakeHosts
	names []string
}

func (h *overrulingHosts) Overruled() []string { return h.names }

// The report says of a name that a line of the hosts file has it, too.
func TestOverruledIsReported(t *testing.T) {
	f := start(t, Options{StartHosts: func(context.Context) (Hosts, error) {
		return &overrulingHosts{fakeHosts{done: make(chan struct{})}, []string{"db.test"}}, nil
	}})
	f.apply([]peer.Published{tcp("db.test", 5432), tcp("git.test", 22)})
	for name, want := range map[string]bool{"db.test": true, "git.test": false} {
		r := f.report(name)
		if got := strings.Contains(r.Trouble, "another line for this name; ours comes before it, but some programs use both"); got != want || len(r.Served) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
