//go:build linux

package e2e

import (
	"testing"
	"time"
)

// manySources asks the echo server from a fresh socket each time, and never again.
const manySources = `
import socket
lost = 0
for i in range(2000):
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.settimeout(4)
	s.connect(("echo.corp.test", 7))
	s.send(b"%d" % i)
	try:
		lost += s.recv(100) != b"%d" % i
	except OSError:
		lost += 1
	s.close()
print(lost, "lost")
`

// TestManyUDPSources sends more datagrams from fresh sockets than there are flows
// at a time, with the device and without: each gets its answer.
func TestManyUDPSources(t *testing.T) {
	for way, args := range map[string][]string{"device": nil, "listeners": {"--tun=off"}} {
		t.Run(way, func(t *testing.T) {
			connect(t, `[{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["udp"]}]`, args...)
			if out := mustCloud(t, 3*time.Minute, "python3 - <<'PY'\n"+manySources+"\nPY"); out != "0 lost" {
				t.Error(out)
			}
		})
	}
}
