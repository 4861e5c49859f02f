//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestExecLinkIsRunAgain loses the link's command, which then fails for a while,
// and has it say nothing: it is run again, with longer and longer pauses, and a
// flow goes on.
func TestExecLinkIsRunAgain(t *testing.T) {
	dir := t.TempDir()
	starts, away := filepath.Join(dir, "starts"), filepath.Join(dir, "away")
	script := fmt.Sprintf(`date +%%s%%N >>%s; [ ! -e %s ] || exit 1; exec "$@"`, starts, away)
	s := connectBy(t, resources, nil, append([]string{"sh", "-c", script, "sh"}, sshLink()...)...)
	flow := held(t)
	link := func() int {
		t.Helper()
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
		for _, list := range lists {
			b, _ := os.ReadFile(list)
			for pid := range strings.FieldsSeq(string(b)) {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
		t.Fatal("the link has no process")
		return 0
	}
	next := func(name string, limit time.Duration) event {
		t.Helper()
		for timeout := time.After(limit); ; {
			select {
			case e, ok := <-s.events:
				if !ok || e.Event == "disconnected" {
					t.Fatalf("%+v instead of %s", e, name)
				}
				if e.Event == name {
					return e
				}
			case <-timeout:
				t.Fatalf("not within %s: %s", limit, name)
			}
		}
	}
	started := func() (at []float64) {
		b, _ := os.ReadFile(starts)
		for line := range strings.FieldsSeq(string(b)) {
			ns, _ := strconv.ParseFloat(line, 64)
			at = append(at, ns/1e9)
		}
		return at
	}

	mustWrite(t, away, "")
	_ = syscall.Kill(link(), syscall.SIGKILL)
	if e := next("reconnecting", 10*time.Second); e.Reason == "" {
		t.Error("it is not told why")
	}
	eventually(t, 5*time.Second, "it is logged for how long", func() bool {
		return strings.Contains(s.log.String(), `"atMost":"10m0s"`)
	})
	eventually(t, 30*time.Second, "it is run four times more", func() bool { return len(started()) >= 5 })
	at := started()
	if first, last := at[2]-at[1], at[4]-at[3]; last < 1.5*first {
		t.Errorf("pauses of %.1f s at first and %.1f s at last", first, last)
	}
	_ = os.Remove(away)
	answers(t, flow, "after failures")
	next("reconnected", 20*time.Second)

	stopped := link()
	_ = syscall.Kill(stopped, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(stopped, syscall.SIGCONT) }()
	_, _ = flow.Write([]byte("into silence"))
	got := make([]byte, len("into silence"))
	_ = flow.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(flow, got); err != nil || string(got) != "into silence" {
		t.Errorf("%q, %v", got, err)
	}
}
