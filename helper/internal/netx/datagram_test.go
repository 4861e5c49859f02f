package netx

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestDatagramReader(t *testing.T) {
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	c, err := net.DialUDP("udp", nil, far.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for what, read := range map[string]func() (*Chunk, error){"a socket": DatagramReader(c), "another connection": DatagramReader(struct{ net.Conn }{c})} {
		for _, size := range []int{5, 0, 1200, 65507} {
			if _, err := far.WriteTo(make([]byte, size), c.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			chunk, err := read()
			if err != nil || chunk.Len() != size {
				t.Fatalf("%s: %d bytes: %v, %v", what, size, chunk, err)
			}
			chunk.Release()
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: past the deadline: %v", what, err)
		}
		_ = c.SetReadDeadline(time.Time{})
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = c.Close() })
	if _, err := DatagramReader(c)(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
