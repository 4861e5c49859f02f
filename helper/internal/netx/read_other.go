//go:build !unix

package netx

import (
	"net"
	"net/netip"
	"syscall"
)

func rawRead(syscall.RawConn) readFunc { return nil }

// DatagramReader returns a function that reads the next datagram of c.
func DatagramReader(c net.Conn) func() (*Chunk, error) {
	if own, ok := c.(DatagramConn); ok {
		return own.ReadDatagram
	}
	return plainDatagramReader(c)
}

// ReaderFrom returns a function that reads the next datagram of u, which is not
// connected. The sender's address has no zone.
func ReaderFrom(u *net.UDPConn) func() (*Chunk, netip.AddrPort, error) { return plainReaderFrom(u) }
