//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// judgedProbe times calls that the supervisor judges and lets go on. Between them
// the supervisor is idle, as it mostly is.
func judgedProbe(e *probeEnv) string {
	took := make([]time.Duration, 200)
	for i := range took {
		time.Sleep(3 * time.Millisecond)
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		start := time.Now()
		_ = unix.Connect(fd, e.addr(unix.AF_INET, e.closed))
		took[i] = time.Since(start)
		_ = unix.Close(fd)
	}
	slices.Sort(took)
	return fmt.Sprint(took[len(took)/2].Microseconds(), took[len(took)*9/10].Microseconds(), took[len(took)*99/100].Microseconds())
}

// TestJudgedCalls logs what judging costs a call, with one processor for
// goroutines as the helper has by default: median, 90th and 99th percentile, in µs.
func TestJudgedCalls(t *testing.T) {
	r := newRig(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := r.command(false, exe, "probe", r.direct(), "judged")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	direct, err := exec.CommandContext(t.Context(), exe, "probe", r.direct(), "judged").Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.Fields(string(out))) != 4 {
		t.Errorf("%q", out)
	}
	t.Logf("%s, and direct %s", strings.TrimSpace(string(out)), strings.TrimSpace(string(direct)))
}

// waits are the system calls in which the runtime itself has threads wait. A
// thread of a goroutine that waits in any other one keeps the goroutines'
// processor, of which there is one, until the runtime takes it away.
var waits = []int{unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP}

// While nothing happens, no thread of the foreground process or of the supervisor
// waits in the kernel on behalf of a goroutine.
func TestNoThreadWaits(t *testing.T) {
	r := newRig(t)
	cmd := r.command(false, "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Signal(syscall.SIGTERM) }()
	foreground := cmd.Process.Pid
	supervisor := only(t, foreground)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", only(t, supervisor))); string(name) == "sleep\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the command does not start")
		}
	}
	time.Sleep(200 * time.Millisecond) // until the goroutines of the start are done
	for _, pid := range []int{foreground, supervisor} {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("threads of %d: %q %v", pid, threads, err)
		}
		for _, thread := range threads {
			b, err := os.ReadFile(thread)
			if err != nil {
				t.Fatal(err)
			}
			var call int
			if _, err := fmt.Sscanf(string(b), "%d ", &call); err == nil && !slices.Contains(waits, call) {
				t.Errorf("%s: waits in system call %d", thread, call)
			}
		}
	}
}

// only is the child of a process, once it has one.
func only(t *testing.T, pid int) (child int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			b, _ := os.ReadFile(list)
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				return n
			}
		}
	}
	t.Fatalf("%d has no child", pid)
	return 0
}
