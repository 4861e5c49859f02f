package dial

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns a connection as the Dialer makes it, and its far end.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := systemDial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = f.Close() })
	return c.(*net.TCPConn), f.(*net.TCPConn)
}

// vanish has the system drop all packets for a connection.
func vanish(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	}); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
}

func TestDeadPeerIsFound(t *testing.T) {
	near, far := pair(t)
	dead := make(chan struct{})
	stop := watchPeer(near, 20*time.Millisecond, 200*time.Millisecond, func() { close(dead) })
	defer stop()
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dead:
		t.Fatal("a peer that is there and silent counts as dead")
	case <-time.After(400 * time.Millisecond):
	}
	vanish(t, far)
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dead:
	case <-time.After(10 * time.Second):
		t.Error("a peer that is gone is not found")
	}
}

// A peer that does not read closes its window. It acknowledges that for as long as it
// lives.
func TestPeerThatDoesNotReadIsNotDead(t *testing.T) {
	near, _ := pair(t)
	stop := watchPeer(near, 20*time.Millisecond, 300*time.Millisecond, func() { t.Error("a peer that does not read counts as dead") })
	defer stop()
	_ = near.SetWriteDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 1<<20)
	for {
		if _, err := near.Write(buf); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return
		}
	}
}

func TestIdleConnectionsAreProbed(t *testing.T) {
	near, _ := pair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.TCP_KEEPIDLE: 10, unix.TCP_KEEPINTVL: 5, unix.TCP_KEEPCNT: 4} {
		var got int
		var optErr error
		if err := raw.Control(func(fd uintptr) { got, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); err != nil || optErr != nil || got != want {
			t.Errorf("option %d: %d, %v %v; want %d", option, got, err, optErr, want)
		}
	}
}
