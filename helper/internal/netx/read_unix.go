//go:build unix

package netx

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
)

func rawRead(rc syscall.RawConn) readFunc { return rawReader(rc, io.EOF) }

// rawReader returns empty for a read of no bytes, or an empty chunk if it is nil.
func rawReader(rc syscall.RawConn, empty error) readFunc {
	return readBy(rc, empty, syscall.Read)
}

// readBy is rawReader by the system call read.
func readBy(rc syscall.RawConn, empty error, read func(fd int, b []byte) (int, error)) readFunc {
	return func(limit int) (c *Chunk, err error) {
		var n int
		cerr := rc.Read(func(fd uintptr) bool {
			c = NewChunk(limit)
			for {
				n, err = read(int(fd), c.Room()[:limit])
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
	if own, ok := c.(DatagramConn); ok {
		return own.ReadDatagram
	}
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			read := rawReader(rc, nil)
			return func() (*Chunk, error) { return read(MaxDatagram) }
		}
	}
	return plainDatagramReader(c)
}

// ReaderFrom returns a function that reads the next datagram of u, which is not
// connected, and takes a chunk as DatagramReader does. The sender's address has no zone.
func ReaderFrom(u *net.UDPConn) func() (*Chunk, netip.AddrPort, error) {
	rc, err := u.SyscallConn()
	if err != nil {
		return plainReaderFrom(u)
	}
	var from syscall.Sockaddr
	read := readBy(rc, nil, func(fd int, b []byte) (n int, err error) {
		n, from, err = syscall.Recvfrom(fd, b, 0)
		return n, err
	})
	return func() (*Chunk, netip.AddrPort, error) {
		c, err := read(MaxDatagram)
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		switch a := from.(type) {
		case *syscall.SockaddrInet4:
			return c, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
		case *syscall.SockaddrInet6:
			return c, netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
		}
		return c, netip.AddrPort{}, nil
	}
}
