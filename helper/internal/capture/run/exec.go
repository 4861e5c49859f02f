//go:build linux && (amd64 || arm64)

package run

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// First bytes of messages from the process that becomes the command to the
// supervisor.
const (
	saysFilter = 'f' // with the descriptor of the notifications
	saysNested = 'n' // there is a supervisor already, which serves the command too
	saysFailed = 'e' // and why, after a byte with the exit code
)

// errNested explains EBUSY of the kernel.
var errNested = errors.New("something supervises system calls here already (another causeway run, or a container tool), " +
	"and Linux allows one supervisor in a tree of processes: run the command outside of it")

// Exec installs the filter, passes its notifications to the supervisor and becomes
// the command. It returns only if it fails.
func Exec(o Options) error {
	// The filter applies to this thread, which executes the command. A thread that
	// exists before talks to the supervisor: under the filter, its sendmsg would
	// wait for the supervisor.
	runtime.LockOSThread()
	unix.CloseOnExec(inherited)
	speak := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range speak {
			f()
		}
	}()
	started := make(chan struct{})
	speak <- func() { close(started) }
	<-started

	fail := func(code int, err error) error {
		said := make(chan struct{})
		speak <- func() {
			_ = say(append([]byte{saysFailed, byte(code)}, err.Error()...), -1)
			close(said)
		}
		<-said
		return err
	}
	fd, err := install(o)
	message := []byte{saysFilter}
	switch outer := os.Getenv(Variable); {
	case err == nil:
	case errors.Is(err, unix.EBUSY) && outer == modeOnly, errors.Is(err, unix.EBUSY) && outer == modeCarry && !o.Only:
		message, fd = []byte{saysNested}, -1
	case errors.Is(err, unix.EBUSY):
		return fail(1, errNested)
	default:
		return fail(1, fmt.Errorf("install a seccomp filter: %w: the container runtime may forbid it", err))
	}
	acknowledged := make(chan error)
	speak <- func() { acknowledged <- handFilter(message, fd) }
	if err := <-acknowledged; err != nil {
		return err
	}
	if o.Only {
		if err := dropSockets(); err != nil {
			return fail(1, err)
		}
	}
	err = syscall.Exec(o.Path, o.Argv, os.Environ())
	code := 126
	if errors.Is(err, unix.ENOENT) {
		code = 127
	}
	return fail(code, fmt.Errorf("execute %s: %w", o.Path, err))
}

// handFilter passes the filter's notifications to the supervisor and waits until it
// has taken them.
func handFilter(message []byte, fd int) error {
	err := say(message, fd)
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("reach the supervisor: %w", err)
	}
	if n, err := unix.Read(inherited, make([]byte, 1)); n != 1 {
		return errors.Join(errors.New("the supervisor is gone"), err)
	}
	return nil
}

func say(message []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	return unix.Sendmsg(inherited, message, rights, nil, 0)
}

// dropSockets closes inherited descriptors by which the command could reach the
// network: sockets other than Unix sockets, and io_uring.
func dropSockets() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("look for inherited sockets: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd == inherited || !leadsOut(fd) {
			continue
		}
		if fd > 2 {
			_ = unix.Close(fd)
			continue
		}
		null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("replace an inherited socket: %w", err)
		}
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("replace an inherited socket: %w", err)
		}
		_ = unix.Close(null)
	}
	return nil
}

func leadsOut(fd int) bool {
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return false
	}
	if strings.HasPrefix(target, "anon_inode:[io_uring]") {
		return true
	}
	if !strings.HasPrefix(target, "socket:") {
		return false
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err != nil || family != unix.AF_UNIX && family != unix.AF_NETLINK
}
