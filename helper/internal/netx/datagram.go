package netx

import (
	"net"
	"net/netip"
)

// DatagramConn is a connection with its own way to read the next datagram. The caller
// becomes the owner of the chunk.
type DatagramConn interface {
	net.Conn
	ReadDatagram() (*Chunk, error)
}

// plainReaderFrom is ReaderFrom for a system whose sockets do not tell when they are
// readable.
func plainReaderFrom(u *net.UDPConn) func() (*Chunk, netip.AddrPort, error) {
	return func() (*Chunk, netip.AddrPort, error) {
		chunk := NewChunk(MaxDatagram)
		n, from, err := u.ReadFromUDPAddrPort(chunk.Room()[:MaxDatagram])
		if err != nil {
			chunk.Release()
			return nil, from, err
		}
		chunk.Grow(n)
		return chunk, netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()), nil
	}
}

// plainDatagramReader is DatagramReader for a connection that does not tell when it is
// readable. It holds a chunk while it waits.
func plainDatagramReader(c net.Conn) func() (*Chunk, error) {
	return func() (*Chunk, error) {
		chunk := NewChunk(MaxDatagram)
		n, err := c.Read(chunk.Room()[:MaxDatagram])
		if err != nil {
			chunk.Release()
			return nil, err
		}
		chunk.Grow(n)
		return chunk, nil
	}
}
