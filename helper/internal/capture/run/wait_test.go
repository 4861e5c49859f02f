//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wait ends with the event or with its time. It leaves the descriptor in blocking
// mode, and no descriptor behind.
func TestWaitFor(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	before := descriptors(t)
	if err := waitFor(fds[0], unix.POLLIN, 20); err != unix.ETIMEDOUT {
		t.Errorf("with nothing to read: %v", err)
	}
	if err := waitFor(fds[0], unix.POLLOUT, 20); err != nil {
		t.Errorf("with room to write: %v", err)
	}
	late := time.AfterFunc(20*time.Millisecond, func() { _, _ = unix.Write(fds[1], []byte{1}) })
	defer late.Stop()
	if err := waitFor(fds[0], unix.POLLIN, 10_000); err != nil {
		t.Errorf("for a byte: %v", err)
	}
	if !isBlocking(fds[0]) {
		t.Error("the socket is in non-blocking mode now")
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
