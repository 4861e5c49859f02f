package dial

import (
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func progressOf(net.Conn) func() (progress, error) { return nil }

// setDeadLimit has the system end a connection whose data is sent again in vain for
// that long.
func setDeadLimit(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	return c.Control(func(fd uintptr) {
		// An older system does without.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(deadAfter.Seconds()))
	})
}
