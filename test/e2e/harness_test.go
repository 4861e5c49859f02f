//go:build linux

// Package e2e drives the built helper, and VS Code with the extensions, between
// the hosts of the lab, with unchanged clients. What needs no editor is in Go.
package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

var (
	world  *lab.Lab
	helper string // the helper, built as it is shipped
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "causeway-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	helper = filepath.Join(dir, "causeway")
	if err := buildHelper(helper, ""); err != nil {
		fmt.Fprintln(os.Stderr, "build helper:", err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if world, err = lab.Up(ctx, lab.Options{Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = world.Close() }()
	return m.Run()
}

// buildHelper builds the helper as it is shipped, of a version that is not "".
func buildHelper(to, version string) error {
	flags := "-ldflags=-s -w"
	if version != "" {
		flags += " -X github.com/causeway-dev/causeway/helper/internal/cli.version=" + version
	}
	build := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", flags, "-o", to, "../../helper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	return build.Run()
}

// resources are all that the tests approve, as a user would write it.
const resources = `[
	// The database.
	{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
	{"name": "npm", "host": "npm.corp.test", "ports": [4873]},
	{"name": "web", "host": "web.corp.test", "ports": [80, "443"]},
	{"name": "git", "host": "git.corp.test", "ports": [22]},
	{"name": "echo", "host": "echo.corp.test", "ports": [7, 8, 9, 10, 11, 12, 13, 14, 99], "protocols": ["tcp", "udp"]},
	{"name": "dns", "host": "dns.corp.test", "ports": [53], "protocols": ["udp", "tcp"]},
	{"name": "unreachable", "host": "unreachable.corp.test", "ports": [80]},
	{"name": "blackhole", "host": "blackhole.corp.test", "ports": [80]},
	{"name": "gone", "host": "gone.corp.test", "ports": [80]},
	{"name": "broken", "host": "servfail.corp.test", "ports": [80]},
	{"name": "wild", "host": "*.corp.test", "ports": [7, 80]},
	{"name": "everything", "host": "0.0.0.0/0", "ports": ["7", "80"]}, // trailing comma
]`

// event is a line of connect --events=json.
type event struct {
	Event  string `json:"event"`
	Reason string `json:"reason"`
	Proxy  string `json:"proxy"`

	Resources []eventResource `json:"resources"`
	Notes     []string        `json:"notes"`
}

type eventResource struct {
	Name    string   `json:"name"`
	Served  []string `json:"served"`
	Trouble string   `json:"trouble"`
}

// session is a running causeway connect on laptop.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan event
	log    *syncBuffer
	Proxy  string
	first  event // told when the remote became usable
	ended  chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// connect runs causeway connect on laptop with ssh to cloud as its link and
// waits until the remote is usable.
func connect(t *testing.T, list string, args ...string) *session {
	t.Helper()
	return connectBy(t, list, args, sshLink()...)
}

func sshLink() []string {
	ssh := world.Info().SSH
	return []string{"ssh", "-F", ssh.SSHConfig, ssh.User + "@" + ssh.Address, helper, "capture", "--stdio", "--log-level=debug"}
}

func connectBy(t *testing.T, list string, args []string, link ...string) *session {
	t.Helper()
	return begin(t, connectCommand(t, list, args, link...))
}

func connectCommand(t *testing.T, list string, args []string, link ...string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resources.json")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"connect", "--resources", file, "--events=json"}, args...)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--users=") }) {
		argv = append(argv, "--users=mine") // wherever the tests run, in a container too
	}
	return world.Laptop.Command(context.Background(), helper, append(append(argv, "--"), link...)...)
}

// begin starts a gateway that tells its events as JSON, and waits until the
// remote is usable.
func begin(t *testing.T, cmd *exec.Cmd) *session {
	t.Helper()
	s := launch(t, cmd)
	select {
	case e, ok := <-s.events:
		if !ok || e.Event != "connected" {
			t.Fatalf("first event is %+v, want connected\n%s", e, s.log)
		}
		s.Proxy, s.first = e.Proxy, e
	case <-time.After(30 * time.Second):
		t.Fatalf("not connected\n%s", s.log)
	}
	return s
}

// launch is begin without the wait.
func launch(t *testing.T, cmd *exec.Cmd) *session {
	t.Helper()
	s := &session{t: t, cmd: cmd, events: make(chan event, 100), log: new(syncBuffer), ended: make(chan error, 1)}
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.events)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("event %q: %v", lines.Text(), err)
			}
			s.events <- e
		}
	}()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log of connect:\n%s", s.log)
		}
	})
	return s
}

// freeze stops connect's process until stop: it starts no capture in place of one
// that a test kills.
func (s *session) freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// stop ends connect as Ctrl-C does, and waits for it.
func (s *session) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		s.ended <- err
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // its stacks go to the log
		time.Sleep(500 * time.Millisecond)
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.t.Errorf("connect did not end: %v", <-done)
	}
}

// cloud runs a shell script on cloud as the developer's user there and returns
// what it prints.
func cloud(t *testing.T, limit time.Duration, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], "bash", "-euo", "pipefail", "-c", script)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("still running after %s", limit)
	}
	return strings.TrimSpace(string(out)), err
}

// mustCloud is cloud for scripts that have to succeed.
func mustCloud(t *testing.T, limit time.Duration, script string) string {
	t.Helper()
	out, err := cloud(t, limit, script)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// hostsFile is cloud's hosts file as it is now.
func hostsFile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(world.Cloud.HostsFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually waits for what must become true within limit.
func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("not within %s: %s", limit, what)
}

func mustWrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// running returns the processes of the helper that these tests built and whose
// arguments begin with args.
func running(args ...string) []int { return runningOf(helper, args...) }

// runningOf is running for another program, whose file may be gone.
func runningOf(program string, args ...string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err != nil || strings.TrimSuffix(exe, " (deleted)") != program {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if _, given, _ := strings.Cut(string(line), "\x00"); len(args) == 0 || strings.HasPrefix(given, strings.Join(args, "\x00")+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// echoes returns what sends a text over c, whose other end sends it back.
func echoes(t *testing.T, c net.Conn) func(what string) {
	return func(what string) {
		t.Helper()
		_, _ = io.WriteString(c, what)
		got := make([]byte, len(what))
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != what {
			t.Fatalf("%q, %v", got, err)
		}
	}
}
