//go:build unix

package netx

import (
	"io"
	"os"
	"syscall"
)

func rawRead(rc syscall.RawConn) func() (*[BufferSize]byte, int, error) {
	return func() (buf *[BufferSize]byte, n int, err error) {
		cerr := rc.Read(func(fd uintptr) bool {
			buf = shared.Get()
			for {
				n, err = syscall.Read(int(fd), buf[:])
				if err != syscall.EINTR {
					break
				}
			}
			if err == syscall.EAGAIN {
				shared.Put(buf)
				buf, n, err = nil, 0, nil
				return false
			}
			return true
		})
		switch {
		case cerr != nil:
			return buf, 0, cerr
		case err != nil:
			return buf, 0, os.NewSyscallError("read", err)
		case n == 0:
			return buf, 0, io.EOF
		}
		return buf, n, nil
	}
}
