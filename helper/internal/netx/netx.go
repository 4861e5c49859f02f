// Package netx holds what every part that moves bytes shares: the dial seam,
// one correct relay, and a pool of copy buffers. It judges and resolves nothing.
package netx

import (
	"context"
	"net"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// halfCloser is a connection whose sending direction can end by itself.
type halfCloser interface{ CloseWrite() error }

// resetter is a connection with an abort of its own, such as a tunnel stream.
type resetter interface{ Reset(reason string) }

// ResetConn closes c so that its peer sees a reset, not an orderly end: by its
// Reset method if it has one, by SO_LINGER 0 on TCP.
func ResetConn(c net.Conn, reason string) {
	switch c := c.(type) {
	case resetter:
		c.Reset(reason)
	case *net.TCPConn:
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}
