//go:build linux

package hostnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or in a child the role that the environment names.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "sudo" {
		standForSudo()
	}
	path := os.Getenv("HOSTNET_TEST_PATH")
	switch os.Getenv("HOSTNET_TEST_ROLE") {
	case "privileged":
		poll := 20 * time.Millisecond
		if os.Getenv("HOSTNET_TEST_POLL") == "never" {
			poll = time.Hour
		}
		if err := Serve(os.Stdin, os.Stdout, Options{HostsPath: path, ResolvPath: path + ".resolv", RunDir: path + ".run", Poll: poll}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "helper": // holds a block until it is killed
		h, err := Start(context.Background(), options(path))
		if err == nil {
			err = h.SetHosts(context.Background(), entries("db.test"))
		}
		fmt.Println(err)
		select {}
	case "resolver": // is the nameserver until it is killed
		h, err := StartResolver(context.Background(), options(path))
		if err == nil {
			err = h.SetResolver(context.Background(), netip.MustParseAddr(os.Getenv("HOSTNET_TEST_STUB")))
		}
		fmt.Println(err)
		select {}
	case "sudoer": // as helper, but ends with its stdin
		h, err := Start(context.Background(), options(path))
		if err == nil {
			err = h.SetHosts(context.Background(), entries("db.test"))
			defer func() { _ = h.Close() }()
		}
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

// standForSudo is a setuid copy of the test binary: "sudo -n -- COMMAND…".
func standForSudo() {
	if len(os.Args) < 4 || os.Args[1] != "-n" || os.Args[2] != "--" || syscall.Setuid(0) != nil {
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, syscall.Exec(os.Args[3], os.Args[3:], os.Environ()))
	os.Exit(1)
}

func options(path string) StartOptions {
	self := "/proc/self/exe"
	if path := os.Getenv("HOSTNET_TEST_SELF"); path != "" {
		self = path
	}
	return StartOptions{Self: self, HostsPath: path, Resolv: path + ".resolv",
		Env: []string{"HOSTNET_TEST_ROLE=privileged", "HOSTNET_TEST_PATH=" + path, "GORACE=atexit_sleep_ms=0"}}
}

const original = "127.0.0.1 localhost\r\n# a comment\n10.0.0.1 other"

func hostsFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func TestHost(t *testing.T) {
	path := hostsFile(t, original)
	before, _ := os.Stat(path)
	h, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if got := read(t, path); got != original {
		t.Errorf("changed by starting: %q", got)
	}
	if err := h.SetHosts(t.Context(), entries("db.test", "git.test")); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if !strings.HasPrefix(got, original+"\n# BEGIN causeway ") || !strings.Contains(got, "\n127.9.8.2\tgit.test\t# causeway\n") {
		t.Errorf("%q", got)
	}
	if err := h.SetHosts(t.Context(), entries("localhost")); err == nil || !strings.Contains(err.Error(), "stands for this machine") {
		t.Errorf("localhost: %v", err)
	}
	if read(t, path) != got {
		t.Error("a refused request changed the file")
	}

	other, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.SetHosts(t.Context(), entries("two.test")); err != nil {
		t.Fatal(err)
	}
	if now := read(t, path); !strings.HasPrefix(now, got) || !strings.Contains(now, "two.test") {
		t.Errorf("two captures: %q", now)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(got, read(t, path)); d != "" {
		t.Error(d)
	}

	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(original, read(t, path)); d != "" {
		t.Error(d)
	}
	after, _ := os.Stat(path)
	if !os.SameFile(before, after) || before.Mode() != after.Mode() {
		t.Error("not edited in place")
	}
}

// startHelper runs a helper of its own process, which has a block in the file.
func startHelper(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"HOSTNET_TEST_ROLE=helper", "HOSTNET_TEST_PATH=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "<nil>" {
		t.Fatalf("helper: %q %v", line, err)
	}
	if !strings.Contains(read(t, path), "db.test") {
		t.Fatal("no block")
	}
	return cmd
}

func TestHelperKilled(t *testing.T) {
	path := hostsFile(t, original)
	cmd := startHelper(t, path)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "block removed", func() bool { return read(t, path) == original })
}

// A helper that dies between a request and its answer does not take the
// privileged child along.
func TestNobodyReads(t *testing.T) {
	path := hostsFile(t, original)
	h, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.SetHosts(t.Context(), entries("db.test")); err != nil {
		t.Fatal(err)
	}
	_ = h.out.Close()
	if err := h.SetHosts(t.Context(), entries("git.test")); err == nil {
		t.Error("an answer was read from a closed pipe")
	}
	<-h.Done()
	if got := read(t, path); got != original {
		t.Errorf("%q", got)
	}
}

// The signals of a terminal that closes end the helper, and its privileged
// child only after it.
func TestTerminalSignals(t *testing.T) {
	path := hostsFile(t, original)
	h, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := h.process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.SetHosts(t.Context(), entries("db.test")); err != nil {
		t.Fatal(err)
	}
	if err := h.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("did not end")
	}
	if h.Err() == nil {
		t.Error("no reason")
	}
	if got := read(t, path); got != original {
		t.Errorf("%q", got)
	}
	if err := h.SetHosts(t.Context(), nil); err == nil {
		t.Error("a dead child takes requests")
	}
}

// What a crash of everything leaves behind goes at the next start, by Start
// and by Cleanup alike.
func TestStaleBlocks(t *testing.T) {
	path := hostsFile(t, original)
	h, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SetHosts(t.Context(), entries("db.test")); err != nil {
		t.Fatal(err)
	}
	if err := Cleanup(path); err != nil || !strings.Contains(read(t, path), "db.test") {
		t.Errorf("a living block was cleaned: %v", err)
	}
	_ = h.process.Kill()
	<-h.Done()
	_ = h.Close()
	stale := read(t, path)
	if !strings.Contains(stale, "db.test") {
		t.Fatal("no stale block")
	}
	if err := Cleanup(path); err != nil || read(t, path) != original {
		t.Errorf("%v %q", err, read(t, path))
	}
	if err := os.WriteFile(path, []byte(stale), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := read(t, path); got != original {
		t.Errorf("%q", got)
	}
}

func TestAlive(t *testing.T) {
	id, err := identity()
	if err != nil {
		t.Fatal(err)
	}
	pid, start, _ := parseID(id)
	if !alive(id) || alive(fmt.Sprintf("%d-%d", pid, start+1)) || alive("2147483646-1") {
		t.Error("wrong about who is alive")
	}
}

// Any user may hold the lock for ever.
func TestLockHeld(t *testing.T) {
	path := hostsFile(t, original)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := update(path, func(b []byte) []byte { return Edit(b, entries("db.test"), "7-70") }); err != nil {
		t.Error(err)
	}
	if !strings.Contains(read(t, path), "db.test") {
		t.Error("not written")
	}
}

func TestFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := replace(f, []byte("a"), []byte("ab")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
}

func TestCannotEdit(t *testing.T) {
	if _, err := withSudo([]string{"true"}, task{lacked: syscall.EROFS}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	o := options(filepath.Join(t.TempDir(), "none"))
	if _, err := Start(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no hosts file: %v", err)
	}
	o = options(hostsFile(t, ""))
	o.Self = "/nonexistent"
	if _, err := Start(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	o = options(hostsFile(t, ""))
	o.Self, o.Args = "/bin/sh", []string{"-c", "echo sudo: a password is required >&2; exit 1"}
	if _, err := Start(t.Context(), o); err == nil || !strings.HasSuffix(err.Error(), "a password is required") {
		t.Errorf("refused: %v", err)
	}
}

// A child that says nothing does not hold its caller.
func TestSilentChild(t *testing.T) {
	o := options(hostsFile(t, ""))
	o.Self, o.Args = "/bin/sh", []string{"-c", "cat >/dev/null"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestServeBadRequests(t *testing.T) {
	defer signal.Reset()
	path := hostsFile(t, original)
	for _, line := range []string{"", "null", "{", `{"tun":true}`, `{"routes":["10.0.0.0/8"]}`, `{"hosts":{}}`, `{"hosts":[{"address":"x"}]}`, `{"hosts":[{"address":"1.2.3.4","names":["a"]}]}`,
		strings.Repeat("x", maxRequest+1)} {
		var out strings.Builder
		if err := Serve(strings.NewReader(line+"\n"), &out, Options{HostsPath: path}); err != nil {
			t.Errorf("%.20q: %v", line, err)
		}
		var a answer
		if out.Len() > 0 && line != "null" && (json.Unmarshal([]byte(out.String()), &a) != nil || a.OK || a.Error == "") {
			t.Errorf("%.20q: %q", line, out.String())
		}
		if got := read(t, path); got != original {
			t.Errorf("%.20q: %q", line, got)
		}
	}
}
