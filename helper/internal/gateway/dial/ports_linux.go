package dial

import (
	"net"

	"golang.org/x/sys/unix"
)

// keepsErrors tells that an open socket hears of ICMP errors.
const keepsErrors = true

// keepErrors makes u, which is not connected, report ICMP errors as a connected socket
// does.
func keepErrors(u *net.UDPConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if u.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return err
	}
	return set
}

// dropErrors empties the queue of errors, which takes room from datagrams.
func dropErrors(u *net.UDPConn) {
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		for {
			if _, _, _, _, err := unix.Recvmsg(int(fd), b[:], nil, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err != nil {
				return
			}
		}
	})
}
