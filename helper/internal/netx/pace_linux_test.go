package netx

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSetReno(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	control := func() (name string) {
		_ = raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	before := control()
	setReno(c)
	if got := control(); got != "reno" {
		t.Errorf("congestion control %q, was %q; want reno", got, before)
	}
}
