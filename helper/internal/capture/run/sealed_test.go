//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// sealedProbe connects after it has forbidden others to inspect it and, as root, has
// become another user. Then it executes a program that connects.
func (e *probeEnv) sealedProbe() string {
	before := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(before)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if os.Geteuid() == 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return err.Error()
		}
		if err := syscall.Setresgid(65534, 65534, 65534); err != nil {
			return err.Error()
		}
		if err := syscall.Setresuid(65534, 65534, 65534); err != nil {
			return err.Error()
		}
	}
	out := text(unix.Connect(before, e.addr(unix.AF_INET, e.tcp))) + " " + echo(before)
	out += "; " + e.nonBlocking(unix.AF_INET, e.tcp, pollOut) + "; " + e.udpUnconnected(unix.AF_INET) + "; "
	said, err := exec.Command("/proc/self/exe", append([]string{"probe"}, append([]string{os.Args[2]}, "blocking")...)...).CombinedOutput()
	return out + strings.TrimSpace(string(said)) + " " + text(err)
}

// Without CAP_SYS_PTRACE, programs that drop root's rights, as apt's do, are carried
// like others, and so are those that others may not inspect.
func TestSealed(t *testing.T) {
	for _, only := range []bool{false, true} {
		r := newRig(t)
		r.restricted = true
		exe, _ := os.Executable()
		direct, err := exec.CommandContext(t.Context(), exe, "probe", r.direct(), "sealed").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.probe(only, r.far(), "sealed"), strings.TrimSpace(string(direct)); got != want {
			t.Errorf("only=%v:\ngot  %s\nwant %s", only, got, want)
		}
	}
}
