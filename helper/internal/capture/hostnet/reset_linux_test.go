package hostnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestResetConnections ends what comes from the addresses of a device that is
// gone, and nothing else.
func TestResetConnections(t *testing.T) {
	own4 := netip.MustParseAddr("127.81.7.3")
	dial := func(network, from, at string) (c net.Conn, far net.Conn) {
		t.Helper()
		ln, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		if c, err = d.Dial(network, ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if far, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = c.Close(), far.Close() })
		return c, far
	}
	ours, _ := dial("tcp4", own4.String(), "127.0.0.1:0")
	other, far := dial("tcp4", "127.0.0.1", "127.0.0.1:0")

	d := Device{Name: "gone", Index: 1 << 30, Addresses: []netip.Addr{own4}}
	err := d.resetConnections()
	want := error(unix.ECONNABORTED)
	if os.Getuid() != 0 { // only root may end them, and the error says so
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("without root: %v", err)
		}
		err, want = nil, os.ErrDeadlineExceeded
		_ = ours.SetReadDeadline(time.Now())
	} else {
		_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("a connection of the device's: %v, want %v", err, want)
	}
	_, _ = io.WriteString(far, "x")
	_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := other.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("another connection: %v", err)
	}
}
