package doctor

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// In a network namespace of its own, whose loopback interface is down, the check says
// so.
func TestLoopbackDown(t *testing.T) {
	if os.Getenv("DOCTOR_TEST_LOOPBACK") != "" {
		t.Log(checkLoopback(t.Context()))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLoopbackDown$", "-test.v")
	cmd.Env = append(os.Environ(), "DOCTOR_TEST_LOOPBACK=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ip link set lo up") {
		t.Errorf("%v\n%s", err, out)
	}
}
