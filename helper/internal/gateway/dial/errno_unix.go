//go:build unix

package dial

import (
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// codeOfErrno returns the code of a flow for a system call's error.
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
	case syscall.ECONNRESET: // after the handshake, before Go looked at the result
		return tunnel.Reset
	default:
		return tunnel.Failed
	}
}

// Survivable reports whether a UDP socket may go on after an error: a host has answered
// an earlier datagram by an ICMP error, or this datagram is too long for the path.
func Survivable(e syscall.Errno) bool {
	switch e {
	case syscall.ECONNREFUSED, syscall.EMSGSIZE, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOPROTOOPT:
		return true
	}
	return false
}
