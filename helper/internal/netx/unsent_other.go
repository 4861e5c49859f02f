//go:build !linux && !darwin

package netx

import "net"

// LimitUnsent does nothing: this system knows no such bound.
func LimitUnsent(net.Conn, int) {}
