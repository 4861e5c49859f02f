//go:build unix

package link

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// guard starts a shell that holds stdout, the stdout of the link's command, for 2 s
// after this process ends, even by kill -9. Without it the command dies of SIGPIPE
// before it has passed on the end of its stdin. With it the remote sees that end,
// takes it as meant, and cleans up at once. The caller calls release when the
// command has ended. If there is no shell, the remote waits for its resume limit.
func guard(stdout *os.File) (release func()) {
	raw, err := stdout.SyscallConn()
	if err != nil {
		return func() {}
	}
	dup := -1
	// A duplicate, since os/exec makes the file that it gets blocking.
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
