package netx

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is the kernel's default limit for users without privileges, in bytes.
const pipeSize = 1 << 20

// WidenPipe enlarges the buffer of a pipe from the default 64 KiB, so that a large
// write wakes its reader once; see pipe(7). If f is no pipe, or the pipe may not grow,
// nothing changes.
func WidenPipe(f *os.File) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}
