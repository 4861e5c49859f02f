package netx

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is as much as the kernel lets anybody have, unless it was told otherwise.
const pipeSize = 1 << 20

// WidenPipe gives a pipe room for more than the 64 KiB that it has by itself, so
// that a large write wakes its reader once; see pipe(7). What is no pipe stays as
// it is, and a pipe that may not grow works too.
func WidenPipe(f *os.File) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}
