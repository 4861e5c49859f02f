//go:build linux

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

const pingable = `[
	{"name": "corp", "host": "10.77.0.0/24", "protocols": ["icmp"]},
	{"name": "corp6", "host": "fd77::/64", "ports": [80], "protocols": ["tcp", "icmp"]},
	{"name": "dead ends", "host": "10.77.8.0/23", "protocols": ["icmp"]},
	{"name": "web", "host": "198.51.96.0/24", "ports": [80]},
]`

// Pings from cloud, with the system's own program at both ends, and with the
// sockets that systems may let their users open.
func TestTunPings(t *testing.T) {
	for name, groups := range map[string]string{"ping programs": "1 0", "ping sockets": "0 2147483647"} {
		t.Run(name, func(t *testing.T) {
			setPingGroups(t, groups)
			connect(t, pingable)
			for _, c := range []struct{ args, exit, want string }{
				{"-W 60 10.77.0.12", "0", "1 received"},
				{"-W 60 fd77::12", "0", "1 received"},
				{"-W 60 -s 0 10.77.0.14", "0", "1 received"},
				{"-W 60 -s 40000 -p a5 10.77.0.14", "0", "40008 bytes from 10.77.0.14"},
				{"-W 60 10.77.8.1", "1", "Destination Host Unreachable"},
				{"-W 60 10.77.0.2", "1", "Packet filtered"}, // the gateway's own address: denied
				{"-W 60 fd77::2", "1", "Administratively prohibited"},
				{"-W 60 198.51.96.1", "1", "Packet filtered"}, // no resource has pings of it
				{"-W 2 10.77.9.1", "1", "0 received, 100% packet loss"},
			} {
				got := mustCloud(t, 2*time.Minute, "ping -c 1 "+c.args+" 2>&1 && echo exit 0 || echo exit $?")
				if !strings.Contains(got, c.want) || !strings.HasSuffix(got, "exit "+c.exit) || strings.Contains(got, "DUP") {
					t.Errorf("ping %s, want %q and %s:\n%s", c.args, c.want, c.exit, got)
				}
				if strings.HasSuffix(c.args, "10.77.9.1") && strings.Contains(got, "From ") {
					t.Errorf("an answer in place of silence:\n%s", got)
				}
			}
			other, err := world.Cloud.CommandAs(t.Context(), world.Info().Users["other"], "ping", "-c", "1", "-W", "2", "10.77.0.12").CombinedOutput()
			if err == nil || !strings.Contains(string(other), "0 received") {
				t.Errorf("another user's ping: %v\n%s", err, other)
			}
		})
	}
}

// setPingGroups says whose groups may open ping sockets, on both ends, for this test.
func setPingGroups(t *testing.T, groups string) {
	t.Helper()
	set := func(groups string) {
		for _, h := range []*lab.Host{world.Cloud, world.Laptop} {
			if out, err := h.Command(context.Background(), "bash", "-c", "echo "+groups+" >/proc/sys/net/ipv4/ping_group_range").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	t.Cleanup(func() { set("1 0") })
	set(groups)
}
