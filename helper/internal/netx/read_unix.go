//go:build unix

package netx

import (
	"io"
	"net"
	"os"
	"syscall"
)

func rawRead(rc syscall.RawConn) readFunc { return rawReader(rc, io.EOF) }

// rawReader returns empty for a read of no bytes, or an empty chunk if it is nil.
func rawReader(rc syscall.RawConn, empty error) readFunc {
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
		case n == 0 && empty != nil:
			err = empty
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

// DatagramReader returns a function that reads the next datagram of c. It takes a
// chunk from the pool only once there is a datagram: a silent socket holds none.
func DatagramReader(c net.Conn) func() (*Chunk, error) {
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			read := rawReader(rc, nil)
			return func() (*Chunk, error) { return read(MaxDatagram) }
		}
	}
	return plainDatagramReader(c)
}
