//go:build linux && (amd64 || arm64)

package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func (r *rig) direct() string {
	return fmt.Sprintf("127.0.0.1,::1,%d,%d,%d,%d", r.tcp, r.udp, r.closed, r.silent)
}
func (r *rig) far() string {
	return fmt.Sprintf("%s,%s,%d,%d,%d,%d", farHost, farHost6, r.tcp, r.udp, r.closed, r.silent)
}

// TestConformance compares what programs see of sockets with and without run.
func TestConformance(t *testing.T) {
	r := newRig(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		only, restricted := i&1 != 0, i&2 != 0
		for _, p := range probes {
			if p.name == "reuse" && restricted {
				continue // a socket that was connected is kept no more, and so not carried again
			}
			t.Run(fmt.Sprintf("%s/restricted=%v/%s", mode(only), restricted, p.name), func(t *testing.T) {
				r.t, r.restricted = t, restricted
				out, err := exec.CommandContext(t.Context(), exe, "probe", r.direct(), p.name).CombinedOutput()
				if err != nil {
					t.Fatalf("direct: %v\n%s", err, out)
				}
				carried := r.probe(only, r.far(), p.name)
				if diff := cmp.Diff(strings.TrimSpace(string(out)), carried); diff != "" {
					t.Errorf("direct (-) and carried (+) differ:\n%s", diff)
				}
				t.Log(carried)
			})
		}
	}
}

func TestErrors(t *testing.T) {
	r := newRig(t)
	failed := func(name string) string { return name + " EINPROGRESS out=true err=true " + name + "; " }
	want := "errors: " + failed("ETIMEDOUT") + failed("EACCES") + failed("ENETUNREACH") + strings.TrimSuffix(failed("EHOSTUNREACH"), " ")
	if diff := cmp.Diff(want, r.probe(false, r.far(), "errors")); diff != "" {
		t.Error(diff)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.origins[0]; o.Source != "run" || o.PID == 0 || !strings.HasPrefix(o.Program, "run.test") {
		t.Errorf("origin is %+v", o)
	}
}

// TestMultipath connects a non-blocking socket that is connected at once.
func TestMultipath(t *testing.T) {
	r := newRig(t)
	want := fmt.Sprintf("multipath poll: <nil> out=true err=false  hello FAR:%d", r.tcp)
	if diff := cmp.Diff(want, r.probe(false, r.far(), "multipath poll")); diff != "" {
		t.Error(diff)
	}
}

// started starts a probe and returns its output, the first line read.
func (r *rig) started(name string) (first string, rest func() string) {
	r.t.Helper()
	exe, _ := os.Executable()
	cmd := r.command(false, exe, "probe", r.far(), name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err = lines.ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(first), func() string {
		b, _ := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil {
			r.t.Error(err)
		}
		return strings.TrimSpace(string(b))
	}
}

// TestClosed closes carried connections in a process that goes on: nothing of
// run keeps them open.
func TestClosed(t *testing.T) {
	for _, restricted := range []bool{false, true} {
		r := newRig(t)
		r.restricted = restricted
		exe, _ := os.Executable()
		cmd := r.command(false, exe, "probe", r.far(), "far closes")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "closed\n" {
			t.Errorf("the probe says %q", line)
		}
		for end := time.Now().Add(time.Second); r.open.Load() > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
		if n := r.open.Load(); n > 0 {
			t.Errorf("restricted %v: %d connections are open at the far end", restricted, n)
		}
		_ = in.Close()
		_ = cmd.Wait()
	}
}

// TestHeld connects without blocking to what answers late: the program learns
// nothing before, and at once then.
func TestHeld(t *testing.T) {
	r := newRig(t)
	_, rest := r.started("held")
	close(r.release)
	if got, want := rest(), "held: EINPROGRESS EALREADY ETIMEDOUT out=true err=false  hello"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestInterrupted sends signals to a thread that connects: the one attempt goes on.
func TestInterrupted(t *testing.T) {
	r := newRig(t)
	pid, rest := r.started("interrupted")
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	r.asked(1)
	for range 20 {
		_ = syscall.Kill(n, syscall.SIGUSR1)
		time.Sleep(5 * time.Millisecond)
	}
	close(r.release)
	if got := rest(); got != "interrupted: <nil> hello" {
		t.Errorf("got %s", got)
	}
	if n := r.asked(1); n != 1 {
		t.Errorf("%d flows for one connect", n)
	}
}

// asked waits until the gateway was asked for n flows, and returns for how many.
func (r *rig) asked(n int) int {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		got := len(r.origins)
		r.mu.Unlock()
		if got >= n {
			return got
		}
	}
	r.t.Fatalf("the gateway was not asked for %d flows", n)
	return 0
}

// TestSignalled disturbs the supervisor with the signal that Go's scheduler uses,
// while it gives sockets to a program.
func TestSignalled(t *testing.T) {
	r := newRig(t)
	r.restricted = true
	pid, rest := r.started("many sockets")
	supervisor, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", supervisor)) // none once it has ended
			for _, thread := range threads {
				if tid, err := strconv.Atoi(thread.Name()); err == nil {
					_ = unix.Tgkill(supervisor, tid, unix.SIGURG)
				}
			}
		}
	}()
	got := rest()
	close(stop)
	<-ended
	if got != "many sockets: 0" {
		t.Errorf("sockets that are none: %s", got)
	}
}

func TestOnly(t *testing.T) {
	r := newRig(t)
	exe, _ := os.Executable()
	cmd := r.command(true, exe, "probe", r.far(), "only")
	// A socket to the network as stdin, and as a further descriptor.
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.tcp))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdin = f
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "only: EACCES EACCES EACCES EACCES <nil> <nil> EACCES ENOSYS" + strings.Repeat(" EACCES", 5) + " false EBADF"
	if diff := cmp.Diff(want, strings.TrimSpace(string(out))); diff != "" {
		t.Error(diff)
	}
	if got := r.probe(true, r.far(), "race"); got != "race: lo <nil>" {
		t.Errorf("after a race: %s", got)
	}
	for _, r.restricted = range []bool{false, true} {
		if got := r.probe(true, r.far(), "bindfails"); got != "bindfails: <nil> EINVAL EACCES" {
			t.Errorf("restricted=%v, after a bind: %s", r.restricted, got)
		}
	}
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	for script, code := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		_, err := r.run(false, "sh", "-c", script)
		got := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got = exit.ExitCode()
		}
		if got != code {
			t.Errorf("%s: exit code %d, want %d", script, got, code)
		}
	}
	t.Run("a signal is passed on", func(t *testing.T) {
		cmd := r.command(false, "sh", "-c", `trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done`)
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		_, _ = lines.ReadString('\n')
		_ = cmd.Process.Signal(syscall.SIGTERM)
		said, _ := io.ReadAll(lines)
		_ = cmd.Wait()
		if string(said) != "caught\n" || cmd.ProcessState.ExitCode() != 5 {
			t.Errorf("said %q, exit code %d", said, cmd.ProcessState.ExitCode())
		}
	})
	t.Run("no capture", func(t *testing.T) {
		r := &rig{t: t, dir: t.TempDir()}
		if _, err := r.run(true, "true"); err == nil {
			t.Error("ran without a capture")
		}
	})
	t.Run("not executable", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "script")
		_ = os.WriteFile(file, []byte("#!/no/such/interpreter\n"), 0o755)
		_, err := r.run(false, file)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 127 {
			t.Errorf("ended with %v, want 127", err)
		}
	})
}

// TestLeftBehind leaves a process behind that connects after the command and
// its foreground have ended.
func TestLeftBehind(t *testing.T) {
	r := newRig(t)
	exe, _ := os.Executable()
	go0, result := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "result")
	script := fmt.Sprintf(`(while [ ! -e %s ]; do sleep 0.02; done; %s probe %s blocking > %s.new 2>&1; mv %[4]s.new %[4]s) > /dev/null 2>&1 & echo left`, go0, exe, r.far(), result)
	if out, err := r.run(false, "setsid", "sh", "-c", script); err != nil || out != "left" {
		t.Fatal(out, err)
	}
	_ = os.WriteFile(go0, nil, 0o600)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if b, err := os.ReadFile(result); err == nil {
			if !strings.Contains(string(b), "hello peer=FAR") {
				t.Errorf("the process left behind says %q", b)
			}
			break
		}
	}
	r.ended()
}

// ended waits until no part of run is left that serves r.
func (r *rig) ended() {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		left := false
		for _, f := range files {
			b, _ := os.ReadFile(f)
			left = left || strings.Contains(string(b), r.dir)
		}
		if !left {
			return
		}
	}
	r.t.Error("a part of run is left")
}

func TestNested(t *testing.T) {
	r := newRig(t)
	exe, _ := os.Executable()
	inner := func(o Options) []string {
		o.Dir, o.Path, o.Argv = r.dir, exe, []string{exe, "probe", r.far(), "blocking"}
		return append([]string{exe}, o.arguments("foreground")[1:]...)
	}
	for _, c := range []struct{ outer, inner, ok bool }{{false, false, true}, {true, true, true}, {true, false, true}, {false, true, false}} {
		out, err := r.run(c.outer, inner(Options{Only: c.inner})...)
		if c.ok != (err == nil && strings.Contains(out, "hello")) {
			t.Errorf("%+v: %v %s", c, err, out)
		}
	}
}

// TestKilled kills a program that waits for a connect: nothing of run stays.
func TestKilled(t *testing.T) {
	r := newRig(t)
	exe, _ := os.Executable()
	cmd := r.command(false, exe, "probe", r.far(), "interrupted")
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	r.asked(1)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 137 {
		t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
	}
	r.ended()
}
