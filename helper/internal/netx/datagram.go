package netx

import "net"

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
