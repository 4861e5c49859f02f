package link

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// otherUser returns a user to serve, another one, and a way to connect as that.
func otherUser(t *testing.T) (served, other int, connect func(*net.TCPAddr) net.Conn) {
	own := os.Getuid()
	connect = func(to *net.TCPAddr) net.Conn {
		t.Helper()
		c, err := net.DialTCP("tcp", nil, to)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	if own != 0 {
		return own + 1, own, connect
	}
	const nobody = 65534
	return own, nobody, func(to *net.TCPAddr) net.Conn {
		t.Helper()
		// A socket belongs to the user of the thread's file system calls.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
			t.Fatal(err)
		}
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
}

// A connection of another user of this host gets no slot and is not listened to.
func TestOtherUsersAreRefused(t *testing.T) {
	_, capt := pair(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	served, other, connect := otherUser(t)
	l := &listener{ln: ln, c: capt, log: zerolog.Nop(), allowed: sameUser(served)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.accept(ctx)
	}()
	defer func() {
		cancel()
		_ = ln.Close()
		<-done
	}()
	c := connect(ln.Addr().(*net.TCPAddr))
	defer c.Close()
	if b, err := io.ReadAll(c); len(b) > 0 || isTimeout(err) {
		t.Errorf("user %d got %q, %v", other, b, err)
	}
	if n := l.refused.Load(); n != 1 {
		t.Errorf("%d were refused", n)
	}
}
