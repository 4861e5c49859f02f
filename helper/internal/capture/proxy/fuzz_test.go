package proxy

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
)

type script struct {
	io.Reader
	bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func FuzzSOCKSRequest(f *testing.F) {
	f.Add([]byte("\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb"))
	f.Add([]byte("\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x35"))
	f.Add([]byte("\x02\x00\x02\x05\xf0\x00\x04aaaaaaaaaaaaaaaa\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, host, _, err := greetSOCKS(&script{Reader: bytes.NewReader(b)})
		if err == nil && (host == "" || len(host) > 253) {
			t.Fatalf("accepted host %q", host)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x35payload"))
	f.Add([]byte("\x00\x00\x00\x03\x03a.b\x00\x35"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, payload, err := parseDatagram(b)
		if err != nil {
			return
		}
		if addr, err := netip.ParseAddr(d.host); err == nil {
			d.host = addr.Unmap().String() // an address given as a name comes back as an address
		}
		again, p2, err := parseDatagram(append(appendAddress([]byte{0, 0, 0}, d.host, d.port), payload...))
		if err != nil || again != d || !bytes.Equal(p2, payload) {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}

func FuzzSplitTarget(f *testing.F) {
	f.Add("web.corp.test:443")
	f.Add("[fd00::1]:80")
	f.Add("web.corp.test")
	f.Fuzz(func(t *testing.T, s string) {
		if host, port, err := splitTarget(s, "80"); err == nil && (host == "" || port == 0) {
			t.Fatalf("accepted %q as %q %d", s, host, port)
		}
	})
}
