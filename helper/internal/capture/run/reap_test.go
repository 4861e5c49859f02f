//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nothing of run is left to the first process, which in many containers reaps
// nothing. This process stands for it.
func TestNoZombies(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	r := newRig(t)
	for range 5 {
		if _, err := r.run(false, "true"); err != nil {
			t.Fatal(err)
		}
	}
	r.ended()
	time.Sleep(100 * time.Millisecond)
	zombies := 0
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil || pid <= 0 {
			break
		}
		zombies++
	}
	if zombies > 0 {
		t.Errorf("%d zombies after 5 commands", zombies)
	}
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		most, now string
		ok        bool
	}{{"max\n", "5\n", true}, {"100\n", "70\n", true}, {"100\n", "90\n", false}, {"", "", true}} {
		_ = os.WriteFile(filepath.Join(dir, "pids.max"), []byte(c.most), 0o600)
		_ = os.WriteFile(filepath.Join(dir, "pids.current"), []byte(c.now), 0o600)
		err := enoughRoom([]string{filepath.Join(dir, "none"), dir}, 24)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "90 of the 100 processes") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Try runs a command under a supervisor, as run does, and says why it cannot.
func TestTry(t *testing.T) {
	r := &rig{t: t, dir: t.TempDir()}
	for _, c := range []struct{ forbidden, want string }{
		{"", ""},
		{"descriptors", ""},
		{"filters", "install a seccomp filter: operation not permitted"},
	} {
		t.Setenv("RUN_TEST_FORBIDDEN", c.forbidden)
		t.Setenv("RUN_TEST_PART", "try")
		cmd := r.command(false, "true")
		cmd.Args[1] = "restricted"
		out, err := cmd.CombinedOutput()
		if (err == nil) != (c.want == "") || !strings.Contains(string(out), c.want) {
			t.Errorf("forbidden %q: %v %s", c.forbidden, err, out)
		}
	}
}
