//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

// runStages are points of a run. A process of it is stopped there by the first
// such call, or none is, once the command says that it is ready.
var runStages = []struct{ name, call, command string }{
	{"the supervisor left the session", "setsid", busyCommand},
	{"the filter is installed", "seccomp", busyCommand},
	{"the filter is handed over", "sendmsg", busyCommand},
	{"the command is busy", "", busyCommand},
	{"the command has ended", "wait4", ""},
}

// busyCommand has a connection, an exchange of datagrams and a connect that
// waits, until its calls fail.
const busyCommand = `
import errno, socket
s = socket.create_connection(("10.77.0.14", 7)); s.sendall(b"a"); s.recv(1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b"a", ("10.77.0.14", 7)); u.recvfrom(1)
n = socket.socket(); n.setblocking(False); n.connect_ex(("10.77.9.1", 80))
print("ready", flush=True)
for _ in range(2):
    try: socket.create_connection(("10.77.9.1", 80))
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
`

// TestRunKilledAtStages kills each process of a run at each stage: what is left
// of it ends, and says why.
func TestRunKilledAtStages(t *testing.T) {
	connect(t, strings.Replace(runResources, "[", `[{"name": "silent", "host": "10.77.9.0/24", "ports": [80]},`, 1), "--tun=off")
	mustRun(t, "", "true") // whatever the first run leaves to the next
	before := remains(t)
	for _, stage := range runStages {
		for victim, part := range map[string]string{"front": "run", "supervisor": "run-supervise", "command": ""} {
			if stage.command == "" && victim == "command" {
				continue
			}
			t.Run(stage.name+", "+victim, func(t *testing.T) {
				said, code := killRun(t, stage.call, stage.command, victim, part)
				begun := strings.HasPrefix(said, "ready\n")
				switch {
				case begun != (stage.name == "the command is busy"):
					t.Errorf("at this stage the command says %q", said)
				case victim == "front" && code != -1,
					victim == "supervisor" && (code != 1 || !strings.Contains(said, "supervisor has ended before the command")),
					victim == "supervisor" && begun && strings.Count(said, "ENOSYS") != 2,
					victim == "command" && begun && code != 137,
					victim == "command" && !begun && code == 0:
					t.Errorf("code %d: %q", code, said)
				}
				var now string
				for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					if now = remains(t); now == before {
						return
					}
				}
				t.Errorf("after 2 s there is\n%s\nwhere there was\n%s", now, before)
			})
		}
	}
}

// killRun runs a command, kills a process of the run by the part of the helper
// that it is, and returns what was said and the front's code.
func killRun(t *testing.T, call, command, victim, part string) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	log := filepath.Join(world.Info().Users[lab.Dev].Home, "calls")
	defer os.Remove(log)
	argv := []string{helper, "run", "--", "python3", "-c", command}
	if call != "" {
		// The tracer is nobody's parent, so that it can be killed alone.
		argv = append([]string{"strace", "-D", "-f", "-o", log, "-e", "trace=" + call, "-e", "inject=" + call + ":signal=STOP"}, argv...)
	}
	cmd := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], argv[0], argv[1:]...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range slices.Concat(running("run"), running("run-supervise"), running("run-exec")) {
			for _, pid := range append(childrenOf(pid), pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	eventually(t, 20*time.Second, "the stage", func() bool {
		b, _ := os.ReadFile(log)
		return call == "" && strings.Contains(out.String(), "ready") || regexp.MustCompile(`(?m)^\d+ +--- stopped by SIGSTOP`).Match(b)
	})
	front, supervisors := running("run"), running("run-supervise")
	if len(front) != 1 || len(supervisors) != 1 {
		t.Fatalf("%d fronts, %d supervisors: %s", len(front), len(supervisors), out.String())
	}
	if m := regexp.MustCompile(`(?m)^TracerPid:\s+([1-9]\d*)`).FindStringSubmatch(statusOf(front[0])); m != nil {
		tracer, _ := strconv.Atoi(m[1])
		_ = syscall.Kill(tracer, syscall.SIGKILL) // what is stopped stays so
	}
	children := childrenOf(supervisors[0])
	pids := map[string][]int{"front": front, "supervisor": supervisors, "command": children}[victim]
	if len(pids) != 1 {
		t.Fatalf("%d processes to kill", len(pids))
	}
	_ = syscall.Kill(pids[0], syscall.SIGKILL)
	for _, pid := range slices.Concat(front, supervisors, children) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	hangs := time.AfterFunc(4*time.Second, cancel) // 2 s, and as much for a slow machine
	defer hangs.Stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		t.Fatalf("it hangs: %s", out.String())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	}
	return out.String(), 0
}

func statusOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return string(b)
}

func childrenOf(parent int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && strings.Contains(statusOf(pid), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// remains are what a run may leave on cloud: processes, sockets and files.
func remains(t *testing.T) string {
	t.Helper()
	left := fmt.Sprintln(len(running("run")), len(running("run-supervise")), len(running("run-exec")))
	return left + mustCloud(t, 10*time.Second, `pgrep -c -f 10.77.9[.]1 || true
ss -Htuan | grep -v TIME-WAIT | awk '{print $1, $2, $5, $6}' | sort; find ~ | sort`)
}
