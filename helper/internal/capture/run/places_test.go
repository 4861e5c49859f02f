//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// places are systems that differ from this one. Each prepares the namespaces of a
// process of its own.
var places = map[string]struct {
	flags   uintptr
	prepare func() error
}{
	"without IPv6": {syscall.CLONE_NEWNET, func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	}},
	"hidepid": {syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("proc", "/proc", "proc", 0, "hidepid=2")
	}},
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// Programs are carried where IPv6 is off, also to IPv6 addresses, and where processes
// of others are hidden.
func TestPlaces(t *testing.T) {
	const variable = "RUN_TEST_PLACE"
	if place := os.Getenv(variable); place != "" {
		if err := places[place].prepare(); err != nil {
			t.Fatal(err)
		}
		if place == "without IPv6" && hasIPv6() {
			t.Fatal("there is IPv6")
		}
		for i := range 4 {
			r := newRig(t)
			r.restricted = i&1 != 0
			for _, family := range []string{"blocking", "blocking6", "blocking mapped", "poll6", "udp", "udp6"} {
				if got := r.probe(i&2 != 0, r.far(), family); !strings.Contains(got, "hello") && !strings.Contains(got, "two from") {
					t.Errorf("only=%v restricted=%v: %s", i&2 != 0, r.restricted, got)
				}
			}
		}
		return
	}
	for name, place := range places {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPlaces$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", variable, name))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: place.flags}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// Programs are carried where the kernel lacks pidfd_getfd (Linux 5.6) and
// WAIT_KILLABLE_RECV (5.19).
func TestWithoutFeatures(t *testing.T) {
	t.Setenv("RUN_TEST_FORBIDDEN", "features")
	r := newRig(t)
	r.restricted = true
	for _, name := range []string{"blocking", "poll", "udp connected"} {
		if got := r.probe(false, r.far(), name); !strings.Contains(got, "hello") {
			t.Error(got)
		}
	}
}
