//go:build unix

package dial

import (
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// codeOfErrno tells what a system call's error means to a flow.
func codeOfErrno(e syscall.Errno) tunnel.Code {
	switch e {
	case syscall.ECONNREFUSED:
		return tunnel.Refused
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN:
		return tunnel.HostUnreachable
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT:
		return tunnel.NetUnreachable
	case syscall.ETIMEDOUT:
		return tunnel.TimedOut
	case syscall.ECONNRESET: // between the handshake and our look at it
		return tunnel.Reset
	default:
		return tunnel.Failed
	}
}

// Survivable reports whether a UDP socket may go on after an error: an earlier
// datagram was refused by the target, or this one is too long for the way.
func Survivable(e syscall.Errno) bool { return e == syscall.ECONNREFUSED || e == syscall.EMSGSIZE }
