//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// maxResident is what a helper may use, whatever the remote does, in MiB.
const maxResident = 96

// soak asks for the long form of a test.
func soak() bool { return os.Getenv("CAUSEWAY_SOAK") != "" }

// usage is what a process uses.
type usage struct{ residentMiB, files, threads int }

func usageOf(pid int) (u usage) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "VmRSS:":
			kib, _ := strconv.Atoi(f[1])
			u.residentMiB = kib >> 10
		case len(f) > 1 && f[0] == "Threads:":
			u.threads, _ = strconv.Atoi(f[1])
		}
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	u.files = len(fds)
	return u
}

// helpers are the gateway and the capture of the one session that runs.
func helpers(t *testing.T) (gateway, capture int) {
	t.Helper()
	var g, c []int
	// The capture of a session before, of another user's it may be, waits a second for more.
	eventually(t, 10*time.Second, "there is one gateway and one capture", func() bool {
		g, c = running("connect"), running("capture", "--background")
		return len(g) == 1 && len(c) == 1
	})
	return g[0], c[0]
}

// watchMemory samples both helpers until stop and returns their peaks.
func watchMemory(t *testing.T) (stop func() (gateway, capture int)) {
	t.Helper()
	g, c := helpers(t)
	var peakG, peakC atomic.Int64
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			peakG.Store(max(peakG.Load(), int64(usageOf(g).residentMiB)))
			peakC.Store(max(peakC.Load(), int64(usageOf(c).residentMiB)))
			select {
			case <-quit:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() (int, int) {
		close(quit)
		<-done
		return int(peakG.Load()), int(peakC.Load())
	}
}

func checkMemory(t *testing.T, stop func() (int, int)) {
	t.Helper()
	checkResident(t, stop, maxResident)
}

func checkResident(t *testing.T, stop func() (int, int), captureMost int) {
	t.Helper()
	g, c := stop()
	t.Logf("peak resident memory: gateway %d MiB, capture %d MiB", g, c)
	if g > maxResident || c > captureMost {
		t.Errorf("peak resident memory: gateway %d MiB of %d, capture %d MiB of %d", g, maxResident, c, captureMost)
	}
}

func TestBulkIsExact(t *testing.T) {
	connect(t, resources)
	const size = 1 << 30
	stop := watchMemory(t)
	start := time.Now()
	want := mustCloud(t, time.Minute, fmt.Sprintf("curl -sS 'http://web.corp.test/sha256?n=%d&seed=7'", size))
	got := mustCloud(t, 3*time.Minute, fmt.Sprintf("curl -sS 'http://web.corp.test/bytes?n=%d&seed=7' | tee >(sha256sum >&2) | wc -c 2>&1; wait", size))
	t.Logf("down: %s", time.Since(start))
	if !strings.Contains(got, strings.Fields(want)[0]) || !strings.Contains(got, strconv.Itoa(size)) {
		t.Errorf("downloaded %q, want %d bytes with %s", got, size, want)
	}
	start = time.Now()
	file := filepath.Join(t.TempDir(), "up")
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	up := mustCloud(t, 3*time.Minute, fmt.Sprintf(`set +o pipefail; f=$(mktemp) && trap "rm -f $f" EXIT && openssl enc -aes-128-ctr -nosalt -pass pass:x </dev/zero 2>/dev/null | head -c %d >$f; sha256sum <$f; curl -sS -T $f http://web.corp.test/upload`, size))
	t.Logf("up: %s", time.Since(start))
	lines := strings.Fields(up)
	if len(lines) != 4 || lines[0] != lines[3] || lines[2] != strconv.Itoa(size) {
		t.Errorf("uploaded %q, want equal sums of %d bytes", up, size)
	}
	checkMemory(t, stop)
}

func TestStalledFlowsAreBounded(t *testing.T) {
	connect(t, resources, "--tun=off")
	stallFlows(t, "echo.corp.test", maxResident)
}

func stallFlows(t *testing.T, host string, captureMost int) {
	t.Helper()
	stop := watchMemory(t)
	const flows = 1000
	// Half of them take nothing of what the server sends for ever, half send for
	// ever to a server that takes nothing.
	out := mustCloud(t, 4*time.Minute, fmt.Sprintf(`python3 - %d %s <<'PY'
import socket, sys, time
n = int(sys.argv[1]); socks = []
for i in range(n):
    s = socket.create_connection((sys.argv[2], 13 if i %% 2 else 9), 20)
    s.setblocking(False)
    socks.append(s)
junk = b"x" * 65536
end = time.time() + 5
while time.time() < end:
    for s in socks[::2]:
        try: s.send(junk)
        except (BlockingIOError, ConnectionError): pass
c = socket.create_connection((sys.argv[2], 7), 30); c.settimeout(60)
c.sendall(b"still here"); assert c.recv(64) == b"still here"
print("ok")
PY`, flows, host))
	if out != "ok" {
		t.Fatal(out)
	}
	checkResident(t, stop, captureMost)
}

func TestShortConnectionsLeaveNothing(t *testing.T) {
	connect(t, resources)
	connectMuch(t, "echo.corp.test")
}

func connectMuch(t *testing.T, host string) {
	t.Helper()
	g, c := helpers(t)
	burst := func(n int) {
		t.Helper()
		out := mustCloud(t, 10*time.Minute, fmt.Sprintf(`python3 - %d %s <<'PY'
import socket, sys, threading
def work(n):
    for _ in range(n):
        s = socket.create_connection((sys.argv[2], 7), 20); s.settimeout(20)
        s.sendall(b"x"); s.shutdown(socket.SHUT_WR)
        assert s.recv(8) == b"x" and s.recv(8) == b""
        s.close()
ts = [threading.Thread(target=work, args=(int(sys.argv[1]) // 20,)) for _ in range(20)]
[t.start() for t in ts]; [t.join() for t in ts]
print("ok")
PY`, n, host))
		if out != "ok" {
			t.Fatal(out)
		}
	}
	burst(500) // what pools and caches keep is there after this
	settle := func() (usage, usage) {
		last := [2]usage{}
		eventually(t, 10*time.Second, "the helpers come to rest", func() bool {
			now := [2]usage{usageOf(g), usageOf(c)}
			same := now == last
			last = now
			time.Sleep(200 * time.Millisecond)
			return same
		})
		return last[0], last[1]
	}
	g0, c0 := settle()
	start := time.Now()
	n := 5000
	if soak() {
		n = 200_000
	}
	burst(n)
	t.Logf("%d connections in %s", n, time.Since(start))
	g1, c1 := settle()
	t.Logf("gateway %+v, then %+v; capture %+v, then %+v", g0, g1, c0, c1)
	for name, u := range map[string][2]usage{"gateway": {g0, g1}, "capture": {c0, c1}} {
		if u[1].files > u[0].files+5 {
			t.Errorf("%s: %d files before, %d after", name, u[0].files, u[1].files)
		}
		if u[1].residentMiB > u[0].residentMiB+12 {
			t.Errorf("%s: %d MiB before, %d after", name, u[0].residentMiB, u[1].residentMiB)
		}
	}
}
