package netx

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// watchAfter is the delay before a watch begins. It then also finds what happened
// before. Most watches are stopped earlier, and so cost almost nothing.
const watchAfter = 100 * time.Millisecond

// WatchPeer calls gone once when the peer has reset the connection, or has ended its
// direction and nothing is left to read. The call comes from another goroutine, at
// least watchAfter from now. WatchPeer reads nothing. stop ends it and waits for it.
func WatchPeer(c *net.TCPConn, gone func()) (stop func()) {
	return watchPeer(c, watchAfter, gone)
}

func watchPeer(c *net.TCPConn, after time.Duration, gone func()) (stop func()) {
	rc, err := c.SyscallConn()
	if err != nil {
		return func() {}
	}
	done := make(chan struct{})
	begin := time.AfterFunc(after, func() {
		defer close(done)
		_ = rc.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			if _, err := unix.Poll(p, 0); err != nil {
				return false
			}
			events := p[0].Revents
			if events&(unix.POLLERR|unix.POLLHUP) == 0 && (events&unix.POLLRDHUP == 0 || pending(int(fd))) {
				return false // wait for the next event
			}
			gone()
			return true
		})
	})
	return func() {
		if begin.Stop() {
			return
		}
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = c.SetReadDeadline(time.Time{})
	}
}

func pending(fd int) bool {
	var b [1]byte
	n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n > 0 || err != nil
}
