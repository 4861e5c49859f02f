// Package netx holds what every package that moves bytes shares: the type of a dial
// function, the one relay, a pool of buffers, and the memory budget of all sessions.
// It makes no policy decisions and resolves no names.
package netx

import (
	"context"
	"net"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// halfCloser is a connection whose sending direction can end alone.
type halfCloser interface{ CloseWrite() error }

// resetter is a connection with its own way to abort, such as a tunnel stream.
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
