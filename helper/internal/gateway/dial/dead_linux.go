package dial

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// progressOf returns a function that asks the system for the progress of a TCP
// connection, or nil if c is none.
func progressOf(c net.Conn) func() (progress, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func() (p progress, err error) {
		controlErr := raw.Control(func(fd uintptr) {
			var info *unix.TCPInfo
			if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				p = progress{underWay: info.Unacked > 0, acked: info.Bytes_acked}
			}
		})
		if controlErr != nil {
			return p, controlErr
		}
		return p, err
	}
}

// setDeadLimit does nothing: WatchPeer finds dead peers.
func setDeadLimit(string, string, syscall.RawConn) error { return nil }
