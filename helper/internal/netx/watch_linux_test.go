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
		stop := netx.WatchPeerAfter(s, begins, func(bool) bool { t.Error("gone, while it is there"); return true })
		if _, err := c.Write([]byte("x")); err != nil { // wakes the watcher, and is left alone
			t.Fatal(err)
		}
		stop()
		if n, err := s.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("read %d, %v after the watch", n, err)
		}
	}

	c, s = accept()
	told := make(chan bool, 2)
	stop := netx.WatchPeer(s, func(ended bool) bool { told <- ended; return !ended })
	_ = c.CloseWrite()
	if !<-told {
		t.Error("a half-close was taken for a reset")
	}
	_ = c.SetLinger(0)
	_ = c.Close()
	if <-told {
		t.Error("a reset was taken for a half-close")
	}
	stop()
}
