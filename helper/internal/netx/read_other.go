//go:build !unix

package netx

import (
	"net"
	"syscall"
)

func rawRead(syscall.RawConn) readFunc { return nil }

// DatagramReader returns a function that reads the next datagram of c.
func DatagramReader(c net.Conn) func() (*Chunk, error) {
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
