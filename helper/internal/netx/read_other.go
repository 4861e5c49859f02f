//go:build !unix

package netx

import (
	"net"
	"syscall"
)

func rawRead(syscall.RawConn) readFunc { return nil }

// DatagramReader returns a function that reads the next datagram of c.
func DatagramReader(c net.Conn) func() (*Chunk, error) { return plainDatagramReader(c) }
