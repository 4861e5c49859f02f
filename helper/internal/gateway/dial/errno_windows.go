package dial

import (
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/windows"
)

// codeOfErrno tells what a system call's error means to a flow.
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
	case windows.WSAECONNRESET: // between the handshake and our look at it
		return tunnel.Reset
	default:
		return tunnel.Failed
	}
}

// Survivable reports whether a UDP socket may go on after an error: an earlier
// datagram was refused by the target, or this one is too long for the way.
func Survivable(e syscall.Errno) bool { return e == windows.WSAECONNRESET || e == windows.WSAEMSGSIZE }
