//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/matrix"
)

// forgetful connects, sends and closes 60 times, and sends 30 datagrams from fresh
// sockets, without waiting for anything.
const forgetful = `python3 - %s <<'PY'
import socket, sys
host = socket.gethostbyname(sys.argv[1])
for i in range(60):
	s = socket.create_connection((host, 16))
	s.send(b"fire")
	s.close()
	if i < 30:
		u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		u.sendto(b"fire", (host, 16))
		u.close()
PY`

// TestFireAndForget has senders close their sockets before anyone can look for them, in a
// container of one person where only that person is served.
func TestFireAndForget(t *testing.T) {
	arrived := sink(t)
	dev := world.Info().Users[lab.Dev]
	// The account of the lab's other user makes cloud a machine of several people.
	passwd := filepath.Join(t.TempDir(), "passwd")
	mustWrite(t, passwd, "root:x:0:0:root:/root:/bin/bash\n"+dev.Name+fmt.Sprintf(":x:%d:%d::", dev.UID, dev.GID)+dev.Home+":/bin/bash\n")
	link := func(caps string) []string {
		return []string{"ip", "netns", "exec", world.Cloud.NS, "sh", "-c", `mount --bind "$0" /etc/passwd && exec "$@"`, passwd,
			"setpriv", "--inh-caps=-all", "--bounding-set=-all," + caps, "--",
			"env", "HOME=" + dev.Home, "CODESPACES=true", helper, "capture", "--stdio", "--log-level=debug"}
	}
	bare := strings.Replace(containerCaps, ",+net_raw", "", 1)
	for _, way := range []struct {
		name, host string
		args       []string
		caps       string
	}{
		{matrix.ByDevice, "echo.corp.test", nil, containerCaps + ",+net_admin"},
		{matrix.Held, "echo.corp.test", []string{"--tun=off"}, containerCaps},
		{matrix.Accepted, "echo.corp.test", nil, bare},
		{matrix.Tun, world.Info().Echo.Address, nil, containerCaps + ",+net_admin"},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := connectBy(t, `[{"name": "sink", "host": "`+way.host+`", "ports": [16], "protocols": ["tcp", "udp"]}]`,
				append(way.args, "--users="+dev.Name), link(way.caps)...)
			defer s.stop()
			mustCloud(t, time.Minute, strings.Replace(forgetful, "%s", way.host, 1))
			if got := arrived(); got != "60 and 30" {
				t.Errorf("%s arrived", got)
			}
		})
	}
}
