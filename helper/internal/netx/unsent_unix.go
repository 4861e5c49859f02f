//go:build linux || darwin

package netx

import (
	"net"

	"golang.org/x/sys/unix"
)

// LimitUnsent bounds how many bytes the system holds for c that it has not sent yet
// (TCP_NOTSENT_LOWAT), if c is TCP and the system has such a bound.
func LimitUnsent(c net.Conn, bytes int) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, notSentLowAt, bytes)
		})
	}
}
