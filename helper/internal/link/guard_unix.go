//go:build unix

package link

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// guard keeps stdout, which is that of the link's command, open for a moment
// after this process is gone, be it by kill -9. So the command does not die of
// SIGPIPE before it has passed on that its stdin has ended, which the remote
// takes for an end that is meant, and cleans up at once. What guard returns is
// called when the command has ended. Without a shell there is no guard, and the
// remote waits for its resume limit.
func guard(stdout *os.File) (release func()) {
	raw, err := stdout.SyscallConn()
	if err != nil {
		return func() {}
	}
	dup := -1
	// A duplicate: os/exec would make the original block.
	if raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }) != nil || err != nil {
		return func() {}
	}
	held := os.NewFile(uintptr(dup), "stdout")
	defer func() { _ = held.Close() }()
	alive, ours, err := os.Pipe()
	if err != nil {
		return func() {}
	}
	defer func() { _ = alive.Close() }()
	cmd := exec.Command("/bin/sh", "-c", "read _ <&3 && exit; sleep 2")
	cmd.Stdin, cmd.ExtraFiles = held, []*os.File{alive}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return func() {}
	}
	return func() {
		_, _ = ours.WriteString("\n")
		_ = ours.Close()
		_ = cmd.Wait()
	}
}
