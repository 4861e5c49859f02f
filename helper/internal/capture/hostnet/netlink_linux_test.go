package hostnet

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// ways is the attribute of a route by several ways.
func ways(hops ...netip.Addr) (b []byte) {
	for _, h := range hops {
		var attrs []byte
		if h.IsValid() {
			attrs = appendAttr(nil, unix.RTA_GATEWAY, h.AsSlice())
		}
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtNexthop+len(attrs)))
		b = append(append(b, make([]byte, unix.SizeofRtNexthop-2)...), attrs...)
	}
	return b
}

func TestHopsOf(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{ways(four, netip.MustParseAddr("10.0.0.2")), "[10.0.0.1 10.0.0.2]"},
		{ways(six, netip.Addr{}, six.Next()), "[fd00::1 fd00::2]"}, // one without next hop
		{nil, "[]"},
		{ways(four)[:10], "[]"},
	} {
		if got := netipText(hopsOf(c.b)); got != c.want {
			t.Errorf("%x: %s, want %s", c.b, got, c.want)
		}
	}
}

func FuzzHopsOf(f *testing.F) {
	f.Add(ways(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")))
	f.Add([]byte{8, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(hopsOf(b)); n > len(b) {
			t.Errorf("%d hops in %d bytes", n, len(b))
		}
	})
}
