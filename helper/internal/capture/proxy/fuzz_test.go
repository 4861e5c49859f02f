package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
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

// What the proxy passes on is one request, with the body that it takes it to have, for
// another reader too.
func FuzzHTTPRequest(f *testing.F) {
	f.Add([]byte("POST http://a.test/x|y?z HTTP/1.1\r\nhost: a.test\r\nX: 1\r\nx: 2\r\nConnection: close, x\r\nContent-Length: 2\r\n\r\nab"))
	f.Add([]byte("POST http://u@[::1]:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n1;e=\"x\"\r\na\r\n0\r\nT: 1\r\n\r\n"))
	f.Add([]byte("POST http://a.test/ HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("CONNECT a.test:443 HTTP/1.0\r\n\r\n\x16\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		from := bufio.NewReader(bytes.NewReader(b))
		lines, err := readHead(from, true)
		if err != nil {
			return
		}
		q, err := parseRequest(lines)
		if err != nil {
			return
		}
		if q.host == "" || q.port == 0 || q.body == untilEnd {
			t.Fatalf("accepted %+v", q)
		}
		var passed bytes.Buffer
		to := bufio.NewWriter(&passed)
		err = copyBody(to, from, q.body, true)
		_ = to.Flush()
		if err != nil {
			return
		}
		const next = "GET /next HTTP/1.1\r\nHost: b\r\n\r\n"
		body := strings.NewReader(q.method + " /x " + q.version + "\r\n" + strings.Join(q.fields, "") + "\r\n" + passed.String() + next)
		reader := bufio.NewReader(body)
		r, err := http.ReadRequest(reader)
		if err != nil {
			return // the server refuses it
		}
		if q.method == http.MethodConnect {
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		rest, _ := io.ReadAll(reader)
		if err == nil && string(rest) != next || q.body >= 0 && n != q.body {
			t.Fatalf("a server reads %d bytes, %v, and then %q", n, err, rest)
		}
	})
}

// A response of any kind ends, and what was read of it is what is passed on.
func FuzzHTTPResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), "GET")
	f.Add([]byte("HTTP/1.1 200\nTransfer-Encoding: gzip, chunked\n\n1 ;x\r\na\r\n0\r\nT: 1\r\n\r\n"), "POST")
	f.Add([]byte("HTTP/1.0 404 x\r\nConnection: keep-alive\r\n\r\nab"), "HEAD")
	f.Fuzz(func(t *testing.T, b []byte, method string) {
		from := bufio.NewReader(bytes.NewReader(b))
		lines, err := readHead(from, false)
		if err != nil {
			return
		}
		p, err := parseResponse(lines, method)
		if err != nil {
			return
		}
		var passed bytes.Buffer
		to := bufio.NewWriter(&passed)
		_ = copyBody(to, from, p.body, false)
		_ = to.Flush()
		if p.status < 100 || p.keep && p.body == untilEnd || !bytes.Contains(b, passed.Bytes()) {
			t.Fatalf("%+v, passed %q", p, passed.Bytes())
		}
	})
}
