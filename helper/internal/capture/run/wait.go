//go:build linux && (amd64 || arm64)

package run

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// waitFor waits for events on fd. After limit milliseconds it returns ETIMEDOUT. A
// thread that waits in the kernel would keep the processor from other goroutines, so
// the runtime's poller waits for an epoll descriptor that watches fd. The poller
// cannot watch fd itself: that needs non-blocking mode, which would change the
// program's socket.
func waitFor(fd int, events int16, limit int) error {
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 0); n > 0 || err != nil && err != unix.EINTR {
		return err
	}
	watch, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(watch, true); err != nil {
		_ = unix.Close(watch)
		return err
	}
	file := os.NewFile(uintptr(watch), "watch")
	defer file.Close()
	if err := unix.EpollCtl(watch, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: uint32(uint16(events))}); err != nil {
		return err
	}
	if err := file.SetReadDeadline(time.Now().Add(time.Duration(limit) * time.Millisecond)); err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(uintptr) bool {
		n, err := unix.EpollWait(watch, make([]unix.EpollEvent, 1), 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return unix.ETIMEDOUT
	}
	return err
}
