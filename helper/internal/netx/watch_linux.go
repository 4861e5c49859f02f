package netx

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// watchAfter is how late a watch begins, which finds what has happened until then:
// most have ended before, and cost next to nothing.
const watchAfter = 100 * time.Millisecond

// WatchPeer calls gone once, from another goroutine and at least watchAfter from
// now, when the peer has reset the connection, or ended its direction and nothing
// is left to read. It reads nothing. stop ends it and waits for it.
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
