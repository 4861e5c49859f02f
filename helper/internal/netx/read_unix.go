//go:build unix

package netx

import (
	"io"
	"os"
	"syscall"
)

func rawRead(rc syscall.RawConn) readFunc {
	return func(limit int) (c *Chunk, err error) {
		var n int
		cerr := rc.Read(func(fd uintptr) bool {
			c = NewChunk(limit)
			for {
				n, err = syscall.Read(int(fd), c.Room()[:limit])
				if err != syscall.EINTR {
					break
				}
			}
			if err == syscall.EAGAIN {
				c.Release()
				c, err = nil, nil
				return false
			}
			return true
		})
		switch {
		case cerr != nil:
			err = cerr
		case err != nil:
			err = os.NewSyscallError("read", err)
		case n == 0:
			err = io.EOF
		default:
			c.Grow(n)
			return c, nil
		}
		if c != nil {
			c.Release()
		}
		return nil, err
	}
}
