package netx_test

import (
	"net"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

func TestWatchPeer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accept := func() (client, server *net.TCPConn) {
		t.Helper()
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a.(*net.TCPConn), b.(*net.TCPConn)
	}
	c, s := accept()
	for _, begins := range []time.Duration{0, time.Hour} {
		stop := netx.WatchPeerAfter(s, begins, func() { t.Error("gone, while it is there") })
		if _, err := c.Write([]byte("x")); err != nil { // wakes the watcher, and is left alone
			t.Fatal(err)
		}
		stop()
		if n, err := s.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("read %d, %v after the watch", n, err)
		}
	}

	for _, end := range []func(*net.TCPConn) error{
		(*net.TCPConn).CloseWrite,
		func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() },
	} {
		c, s = accept()
		told := make(chan struct{})
		stop := netx.WatchPeer(s, func() { close(told) })
		if err := end(c); err != nil {
			t.Fatal(err)
		}
		<-told
		stop()
	}
}
