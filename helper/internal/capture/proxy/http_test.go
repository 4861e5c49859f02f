package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/net/http/httpproxy"
)

const plainGet = "GET http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\n\r\n"

// open has the gateway accept the flow of a request.
func (f *fixture) open() *tunnel.Stream {
	f.Helper()
	st := f.accept()
	_ = st.Reply(tunnel.Connected, "")
	_ = st.SetDeadline(time.Now().Add(20 * time.Second))
	return st
}

// hearEnd expects the end of a connection.
func (f *fixture) hearEnd(c io.Reader) {
	f.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		f.Errorf("heard %q, %v, want the end", b, err)
	}
}

// What the client and the server write arrives byte for byte.
func TestHTTPPassesAsWritten(t *testing.T) {
	for name, tc := range map[string]struct{ asked, arrives, answered string }{
		"order, case and repetition": {
			"GET http://web.corp.test/a|b/%7e?q=\"<>` HTTP/1.1\r\nx-b: 2\r\nHOST:web.corp.test\r\nX-A:  1 \t\r\nx-b: 1\r\nX-Forwarded-For: ::1\r\nForwarded: for=a\r\naccept-ENCODING: gzip\r\n\r\n",
			"GET /a|b/%7e?q=\"<>` HTTP/1.1\r\nx-b: 2\r\nHOST:web.corp.test\r\nX-A:  1 \t\r\nx-b: 1\r\nX-Forwarded-For: ::1\r\nForwarded: for=a\r\naccept-ENCODING: gzip\r\n\r\n",
			"HTTP/1.1 200 Fein, \xfc\r\nzeta: 1\r\nSet-Cookie: b\r\ncontent-LENGTH: 2\r\nset-cookie: a\r\nKeep-Alive: timeout=5\r\n\r\nok",
		},
		"another host, no user agent, a fold and bare LF in the answer": {
			"POST HTTP://u:p@web.corp.test:80?x HTTP/1.1\r\nHost: other.test\r\nContent-Length: 3\r\n\r\nabc",
			"POST /?x HTTP/1.1\r\nHost: other.test\r\nContent-Length: 3\r\n\r\nabc",
			"HTTP/1.1 200\nX: a\n  b\nContent-Length: 1\n\n.",
		},
		"chunks, their extensions and trailers": {
			"PUT http://web.corp.test//x HTTP/1.1\r\nhost: web.corp.test\r\ntransfer-encoding: Chunked\r\nTrailer: Sum\r\nTE: trailers\r\nConnection: TE\r\n\r\n03;a=\"b\"\r\nabc\r\n00A \t;c\r\n0123456789\r\n0;end\r\nsum: 1\r\nSum: 2\r\n\r\n",
			"PUT //x HTTP/1.1\r\nhost: web.corp.test\r\ntransfer-encoding: Chunked\r\nTrailer: Sum\r\nTE: trailers\r\nConnection: TE\r\n\r\n03;a=\"b\"\r\nabc\r\n00A \t;c\r\n0123456789\r\n0;end\r\nsum: 1\r\nSum: 2\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1;x\r\n.\r\n0\r\nsum: 3\r\n\r\n",
		},
		"no path": {
			"OPTIONS http://web.corp.test HTTP/1.1\r\nHost: web.corp.test\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: web.corp.test\r\n\r\n",
			"HTTP/1.1 204 None\r\n\r\n",
		},
		"HEAD": {
			"HEAD http://web.corp.test HTTP/1.1\r\nHost: web.corp.test\r\n\r\n",
			"HEAD / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
		},
		"headers for the proxy": {
			"GET http://web.corp.test/ HTTP/1.1\r\nProxy-Connection: keep-alive\r\nHost: web.corp.test\r\nPROXY-authorization: Basic eA==\r\nKeep-Alive: 9\r\nConnection: X-Hop, Keep-Alive, Host\r\nX-Hop: 1\r\nx-hop: 2\r\nX-Hop-2: 3\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: web.corp.test\r\nConnection: keep-alive\r\nX-Hop-2: 3\r\n\r\n",
			"HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Options{})
			c := f.dial()
			f.say(c, tc.asked)
			st := f.open()
			f.hear(st, tc.arrives)
			f.say(st, tc.answered)
			f.hear(c, strings.ReplaceAll(tc.answered, "\n\n", "\n\r\n"))
			f.say(c, plainGet) // the connection goes on
			f.hear(st, "GET / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n")
			_ = c.CloseWrite() // a client that has said all still hears the answer
			f.say(st, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend")
			f.hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend")
			f.hearEnd(c)
			f.hearEnd(st)
		})
	}
}

// A request that two recipients may read differently reaches no server.
func TestHTTPRefusesSmuggling(t *testing.T) {
	const post = "POST http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\n"
	for request, want := range map[string]string{
		post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                       "400",
		post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                                      "400",
		post + "Content-Length: 3, 3\r\n\r\nabc":                                                        "400",
		post + "Content-Length: +3\r\n\r\nabc":                                                          "400",
		post + "Content-Length: 0x3\r\n\r\nabc":                                                         "400",
		post + "Content-Length: 3_0\r\n\r\nabc":                                                         "400",
		post + "Content-Length: 99999999999999999999\r\n\r\nabc":                                        "400",
		post + "Content-Length:\r\n\r\nabc":                                                             "400",
		post + "Content-Length : 3\r\n\r\nabc":                                                          "400",
		post + "Transfer-Encoding: xchunked\r\n\r\n":                                                    "501",
		post + "Transfer-Encoding: chunked, identity\r\n\r\n":                                           "501",
		post + "Transfer-Encoding: \vchunked\r\n\r\n":                                                   "501",
		post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n":                       "400",
		post + "Transfer-Encoding:\r\n chunked\r\n\r\n":                                                 "400",
		post + "X: a\r\n\tb\r\n\r\n":                                                                    "400",
		post + " X: a\r\n\r\n":                                                                          "400",
		post + "X: a\nY: b\r\n\r\n":                                                                     "400",
		post + "X: a\rY: b\r\n\r\n":                                                                     "400",
		post + "X: a\x00\r\n\r\n":                                                                       "400",
		post + "X\r\n\r\n":                                                                              "400",
		post + "\xc3\xbc: a\r\n\r\n":                                                                    "400",
		post + "Host: other.test\r\n\r\n":                                                               "400",
		"POST http://web.corp.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":            "400",
		"GET http://web.corp.test/ HTTP/1.1 \r\n\r\n":                                                   "400",
		"GET http://web.corp.test/ x HTTP/1.1\r\n\r\n":                                                  "400",
		"GET\thttp://web.corp.test/ HTTP/1.1\r\n\r\n":                                                   "400",
		"G(T http://web.corp.test/ HTTP/1.1\r\n\r\n":                                                    "400",
		"GET http://web.corp.test/ HTTP/2.0\r\n\r\n":                                                    "505",
		"GET http:///x HTTP/1.1\r\n\r\n":                                                                "400",
		"GET http://web.corp.test:0/ HTTP/1.1\r\n\r\n":                                                  "400",
		"GET http://web.corp.test:80:80/ HTTP/1.1\r\n\r\n":                                              "400",
		"GET https://web.corp.test/ HTTP/1.1\r\n\r\n":                                                   "400",
		"GET / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n":                                                 "400",
		"CONNECT web.corp.test:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx":                                "400",
		"CONNECT web.corp.test:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n":                        "400",
		"CONNECT web.corp.test HTTP/1.1\r\n\r\n":                                                        "400",
		"GET http://web.corp.test/ HTTP/1.1\r\nX: " + strings.Repeat("x", maxHeader) + "\r\n\r\n":       "431",
		"GET http://web.corp.test/ HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", maxHeader/6+1) + "\r\n":   "431",
		"GET http://web.corp.test/" + strings.Repeat("x", maxHeader+1<<20) + " HTTP/1.1\r\nHost: x\r\n": "431",
	} {
		f := start(t, Options{})
		c := f.dial()
		go func() { _, _ = io.WriteString(c, request) }() // the proxy need not read it all
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%.90q: %v", request, err)
		}
		body, err := io.ReadAll(resp.Body)
		if !strings.HasPrefix(resp.Status, want+" ") || !resp.Close || err != nil || len(body) < 10 {
			t.Errorf("%.90q answered with %s, %q, %v, want %s", request, resp.Status, body, err, want)
		}
		_ = resp.Body.Close()
		_ = f.proxy.Close()
	}
}

// A body whose chunks cannot be read never looks complete to the server.
func TestHTTPResetsBrokenChunks(t *testing.T) {
	for _, body := range []string{"3\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", "-3\r\n", "0x3\r\nabc\r\n", "8000000000000000\r\n",
		"3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\nX : y\r\n\r\n", ";a\r\n"} {
		f := start(t, Options{})
		c := f.dial()
		f.say(c, "POST http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		st := f.open()
		var reset *tunnel.Error
		if b, err := io.ReadAll(st); !errors.As(err, &reset) || reset.Code != tunnel.Reset || strings.HasSuffix(string(b), "0\r\n\r\n") {
			t.Errorf("%q became %q, %v", body, b, err)
		}
		_ = f.proxy.Close()
	}
}

// Each request goes to the server that it names, on one connection at a time.
func TestHTTPTargetsChange(t *testing.T) {
	f := start(t, Options{})
	c := f.dial()
	// All requests are sent ahead of the first answer.
	f.say(c, "GET http://a.corp.test/1 HTTP/1.1\r\n\r\nGET http://A.corp.test:80/2 HTTP/1.1\r\n\r\nGET http://b.corp.test:81/3 HTTP/1.1\r\n\r\n")
	a := f.open()
	for _, path := range []string{"/1", "/2"} {
		f.hear(a, "GET "+path+" HTTP/1.1\r\n\r\n")
		f.say(a, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		f.hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
	f.hearEnd(a)
	b := f.open()
	f.hear(b, "GET /3 HTTP/1.1\r\n\r\n")
	if got := b.Request().Target; got.Host != "b.corp.test" || got.Port != 81 {
		t.Errorf("%+v", got)
	}
	// The server's end is the client's, and a body can be as long as that.
	f.say(b, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
	_ = b.CloseWrite()
	f.hear(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
	f.hearEnd(c)
}

// A server that ends an idle connection ends the client's, which then asks on a new
// one. It learns nothing wrong from one that ended at the same moment.
func TestHTTPServerLeaves(t *testing.T) {
	for _, when := range []string{"idle", "asked"} {
		f := start(t, Options{})
		c := f.dial()
		f.say(c, plainGet)
		st := f.open()
		f.say(st, "HTTP/1.1 204 None\r\n\r\n")
		f.hear(c, "HTTP/1.1 204 None\r\n\r\n")
		f.hear(st, "GET / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n")
		if when == "asked" {
			f.say(c, plainGet)
			f.hear(st, "GET / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n")
		}
		_ = st.CloseWrite()
		f.hearEnd(c)
	}
}

// Part of a response does not look complete.
func TestHTTPResponseIsCut(t *testing.T) {
	for _, part := range []string{"Content-Length: 9\r\n\r\npart", "Transfer-Encoding: chunked\r\n\r\n4\r\npart", "\r\npart"} {
		f := start(t, Options{})
		c := f.dial()
		f.say(c, plainGet)
		st := f.open()
		f.say(st, "HTTP/1.1 200 OK\r\n"+part)
		f.hear(c, "HTTP/1.1 200 OK\r\n"+part)
		st.Reset("gone")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: %v", part, err)
		}
	}
	for _, nonsense := range []string{"SSH-2.0-x\r\n\r\n", "HTTP/1.1 101 Switch\r\n\r\n", "HTTP/1.1 99 x\r\n\r\n", "",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", maxHeader) + "\r\n\r\n"} {
		f := start(t, Options{})
		c := f.dial()
		f.say(c, plainGet)
		st := f.open()
		f.say(st, nonsense)
		_ = st.CloseWrite()
		f.hear(c, "HTTP/1.1 502 Bad Gateway\r\n")
	}
}

// A client that waits for 100 Continue gets the server's own.
func TestHTTPExpectContinue(t *testing.T) {
	const head = "POST http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	f := start(t, Options{})
	c := f.dial()
	f.say(c, head)
	st := f.open()
	f.hear(st, strings.Replace(head, "http://web.corp.test", "", 1))
	f.say(st, "HTTP/1.1 100 Go on\r\n\r\n")
	f.hear(c, "HTTP/1.1 100 Go on\r\n\r\n")
	f.say(c, "body")
	f.hear(st, "body")
	f.say(st, "HTTP/1.1 204 None\r\n\r\n")
	f.hear(c, "HTTP/1.1 204 None\r\n\r\n")
	f.say(c, head)
	f.hear(st, strings.Replace(head, "http://web.corp.test", "", 1))
	f.say(st, "HTTP/1.1 413 Too long\r\nContent-Length: 2\r\n\r\nno")
	f.hear(c, "HTTP/1.1 413 Too long\r\nContent-Length: 2\r\n\r\nno")
	// Nobody can tell now whether the next bytes are the body.
	f.hearEnd(c)
	if b, err := io.ReadAll(st); err == nil || len(b) > 0 {
		t.Errorf("half a request ends with %q, %v", b, err)
	}
}

// A server may answer before it has read the request. The rest still arrives.
func TestHTTPEarlyAnswer(t *testing.T) {
	f := start(t, Options{})
	c := f.dial()
	f.say(c, "POST http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\nContent-Length: 4\r\n\r\nbo")
	st := f.open()
	f.hear(st, "POST / HTTP/1.1\r\nHost: web.corp.test\r\nContent-Length: 4\r\n\r\nbo")
	f.say(st, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
	f.hear(c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
	f.say(c, "dy"+plainGet)
	f.hear(st, "dyGET / HTTP/1.1\r\nHost: web.corp.test\r\n\r\n")
}

// After an upgrade, both sides speak as they like; data that was sent ahead is first.
func TestHTTPUpgrade(t *testing.T) {
	const head = "Host: web.corp.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
	f := start(t, Options{})
	c := f.dial()
	f.say(c, "GET http://web.corp.test/ws HTTP/1.1\r\n"+head+"early")
	st := f.open()
	f.hear(st, "GET /ws HTTP/1.1\r\n"+head)
	f.say(st, "HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\n\r\nhello")
	f.hear(c, "HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\n\r\nhello")
	f.hear(st, "early")
	f.say(c, "\x00")
	f.hear(st, "\x00")
	_ = c.CloseWrite()
	f.hearEnd(st)
	f.say(st, "after")
	f.hear(c, "after")
	_ = st.CloseWrite()
	f.hearEnd(c)
}

// A client that leaves ends its request, before and after the gateway has connected.
func TestHTTPClientLeaves(t *testing.T) {
	for _, connected := range []bool{false, true} {
		var left atomic.Bool
		f := start(t, Options{Check: func(net.Conn) (owner.Owner, error) {
			if left.Load() {
				return owner.Owner{}, owner.ErrGone
			}
			return owner.Owner{User: "dev"}, nil
		}})
		c := f.dial()
		f.say(c, plainGet)
		st := f.accept()
		if connected {
			_ = st.Reply(tunnel.Connected, "")
			f.hear(st, "GET / HTTP/1.1\r\n")
		}
		left.Store(true)
		_ = c.Close()
		_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadAll(st); isTimeout(err) {
			t.Errorf("connected: %v: the flow goes on", connected)
		}
	}
}

// A proxy of the environment gets the request as it is, and what it needs to know.
func TestHTTPThroughUpstream(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f := start(t, Options{Environment: &httpproxy.Config{HTTPProxy: "http://user:pass@" + ln.Addr().String()}})
	c := f.dial()
	f.say(c, "GET http://elsewhere.test/a|b HTTP/1.1\r\nx-id: 1\r\nProxy-Authorization: mine\r\nHost: elsewhere.test\r\n\r\nGET http://other.test HTTP/1.1\r\n\r\n")
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	const who = "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"
	f.hear(up, "GET http://elsewhere.test/a|b HTTP/1.1\r\n"+who+"x-id: 1\r\nHost: elsewhere.test\r\n\r\n")
	f.say(up, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
	f.hear(c, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
	f.hear(up, "GET http://other.test HTTP/1.1\r\n"+who+"\r\n")
}
