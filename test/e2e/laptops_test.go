//go:build linux

package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/shim"
)

const laptopResources = `[
	{"name": "web", "host": "web.corp.test", "ports": [80]},
	{"name": "domain", "host": "*.corp.test", "ports": [80]},
	{"name": "desk", "host": "web.corp.test", "ports": ["18080:80"], "as": "localhost"}
]`

// Two laptops are connected to one remote and claim the same names. While the first one
// sleeps, the other one serves them. The first has them back when it returns.
func TestTwoLaptops(t *testing.T) {
	for name, c := range map[string]struct {
		sources string
		// sleep lets a laptop go, wake lets it return.
		sleep, wake func(t *testing.T, d *driven)
	}{
		"device, suspended": {"", func(t *testing.T, d *driven) {
			_ = syscall.Kill(d.background("gateway").PID, syscall.SIGSTOP)
		}, func(t *testing.T, d *driven) {
			for _, pid := range running("gateway") {
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
		}},
		"no device, link lost": {`{"tun": "off"}`, func(t *testing.T, d *driven) {
			if err := d.Lose(t.Context(), "it sleeps"); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, d *driven) { d.link() }},
	} {
		t.Run(name, func(t *testing.T) {
			before := setup(t)
			settings := shim.Settings{Resources: laptopResources, Sources: c.sources}
			first, second := laptop(t, settings), laptop(t, settings)
			serves := func(what string, within time.Duration) {
				t.Helper()
				begin := time.Now()
				for _, at := range []string{"web.corp.test", "www.corp.test", "localhost:18080"} {
					eventually(t, within, what+": "+at, func() bool {
						out, _ := cloud(t, 10*time.Second, "curl -sS -m 2 -o /dev/null -w '%{http_code}' http://"+at+"/")
						return strings.HasSuffix(out, "200")
					})
				}
				t.Logf("%s: after %v", what, time.Since(begin).Round(100*time.Millisecond))
			}
			serves("both are awake", 20*time.Second)
			c.sleep(t, first)
			serves("the first sleeps", 20*time.Second)
			serves("the first still sleeps", 3*time.Second)
			c.wake(t, first)
			first.reach("command")
			// The second laptop is gone, and counts as awake for some more seconds.
			if err := second.Lose(t.Context(), "the lid is closed"); err != nil {
				t.Fatal(err)
			}
			serves("the first is awake again", 4*time.Second)
			_, _ = first.Close(), second.Close()
			eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
			if now := setup(t); now != before {
				t.Errorf("the network set-up is now\n%s\nwhere it was\n%s", now, before)
			}
		})
	}
}

// laptop opens a session whose gateway has a home of its own.
func laptop(t *testing.T, settings shim.Settings) *driven {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := shim.Open(ctx, startHelper(t, "gateway"), startHelper(t, "capture"), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range running("gateway") {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		_ = s.Close()
		if t.Failed() {
			t.Logf("gateway:\n%s\ncapture:\n%s", s.Gateway.Log, s.Capture.Log)
		}
	})
	return &driven{Session: s, t: t}
}
