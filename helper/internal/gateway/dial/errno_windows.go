package dial

import (
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/windows"
)

// codeOfErrno returns the code of a flow for a system call's error.
func codeOfErrno(e syscall.Errno) tunnel.Code {
	switch e {
	case windows.WSAECONNREFUSED:
		return tunnel.Refused
	case windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN:
		return tunnel.HostUnreachable
	case windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT:
		return tunnel.NetUnreachable
	case windows.WSAETIMEDOUT, windows.ERROR_SEM_TIMEOUT:
		return tunnel.TimedOut
	case windows.WSAECONNRESET: // after the handshake, before Go looked at the result
		return tunnel.Reset
	default:
		return tunnel.Failed
	}
}

// Survivable reports whether a UDP socket may go on after an error: the target refused
// an earlier datagram, or this datagram is too long for the path.
func Survivable(e syscall.Errno) bool { return e == windows.WSAECONNRESET || e == windows.WSAEMSGSIZE }
