//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
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

// steadySources asks the echo server 500 times per second, from a fresh socket each time,
// for as many seconds as its argument says. A question may take 5 s.
const steadySources = `
import select, socket, sys, time
host = socket.gethostbyname("echo.corp.test")
p, waiting, lost, worst = select.epoll(), {}, 0, 0
began, i, n = time.monotonic(), 0, 500 * int(sys.argv[1])
while i < n or waiting:
	now = time.monotonic()
	while i < n and began + i / 500 <= now:
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.setblocking(False)
		s.connect((host, 7))
		s.send(b"%d" % i)
		waiting[s.fileno()] = (s, b"%d" % i, now)
		p.register(s, select.EPOLLIN)
		i += 1
	for fd, _ in p.poll(0.002):
		s, want, at = waiting.pop(fd)
		try:
			lost += s.recv(100) != want
		except OSError:
			lost += 1
		worst = max(worst, time.monotonic() - at)
		s.close()
	for fd in [fd for fd, (_, _, at) in waiting.items() if now - at > 5]:
		waiting.pop(fd)[0].close()
		lost += 1
print(lost, "lost")
print("the slowest took %.3f s" % worst, file=sys.stderr)
`

// TestSteadyUDPSources has a program ask 500 questions per second from fresh sockets,
// with the device and without: all get answers. The long form goes on for a minute. The
// device keeps questions while the capture does not run.
func TestSteadyUDPSources(t *testing.T) {
	seconds := 2
	if soak() {
		seconds = 60
	}
	for way, args := range map[string][]string{"device": nil, "listeners": {"--tun=off"}} {
		t.Run(way, func(t *testing.T) {
			connect(t, `[{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["udp"]}]`, args...)
			if way == "device" {
				// For a moment, the machine is too busy to run the capture.
				pids := running("capture", "--background")
				stall := time.AfterFunc(700*time.Millisecond, func() {
					for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
						for _, pid := range pids {
							_ = syscall.Kill(pid, signal)
						}
						time.Sleep(1300 * time.Millisecond)
					}
				})
				defer stall.Stop()
			}
			out := mustCloud(t, 3*time.Minute, fmt.Sprintf("python3 - %d <<'PY'\n%s\nPY", seconds, steadySources))
			if !strings.HasPrefix(out, "0 lost") && !strings.HasSuffix(out, "\n0 lost") {
				t.Error(out)
			}
			t.Log(out)
		})
	}
}
