package exit

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

func TestHTTPConnect(t *testing.T) {
	t.Parallel()
	codes := map[string]int{"10.0.0.1:403": 403, "10.0.0.1:504": 504, "10.0.0.1:502": 502}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := codes[r.Host]; code != 0 {
			w.WriteHeader(code)
			return
		}
		c, _, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\nat once"))
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	e := New(resource.Exit{Type: resource.Proxy, URL: u}, machine{}, zerolog.Nop())
	c, err := e.Dial(t.Context(), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, _ := io.ReadAll(c); string(b) != "at once" {
		t.Errorf("%q", b)
	}
	wantCode(t, e, "10.0.0.1:403", tunnel.Denied)
	wantCode(t, e, "10.0.0.1:504", tunnel.TimedOut)
	wantCode(t, e, "10.0.0.1:502", tunnel.HostUnreachable)
}

func TestSOCKS5(t *testing.T) {
	t.Parallel()
	for reply, code := range map[byte]tunnel.Code{2: tunnel.Denied, 3: tunnel.NetUnreachable, 4: tunnel.HostUnreachable, 5: tunnel.Refused, 6: tunnel.TimedOut} {
		wantCode(t, socksServer(t, reply), "10.0.0.1:80", code)
	}
	c, err := socksServer(t, 0).Dial(t.Context(), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// socksServer is an exit by a server that answers one request.
func socksServer(t *testing.T, reply byte) Exit {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 10)
		_, _ = io.ReadFull(c, b[:3])
		_, _ = c.Write([]byte{5, 0})
		_, _ = io.ReadFull(c, b)
		_, _ = c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
	}()
	return New(resource.Exit{Type: resource.Proxy, URL: &url.URL{Scheme: "socks5", Host: ln.Addr().String()}}, machine{}, zerolog.Nop())
}

// TestProxyCredentials is what proxies of both kinds are shown, and what becomes
// of it.
func TestProxyCredentials(t *testing.T) {
	t.Parallel()
	const right, none = "me/hunter2", ""
	for _, kind := range []string{"http", "socks5"} {
		for shown, want := range map[string]string{
			right: "", none: "asks for a user and a password", "me/wrong": "does not accept",
		} {
			u := askingProxy(t, kind, right)
			m := machine{credentials: map[string]resource.Credentials{"http://other:1": {User: "me", Password: "hunter2"}}}
			if user, password, ok := strings.Cut(shown, "/"); ok {
				m.credentials[u.String()] = resource.Credentials{User: user, Password: password}
			}
			c, err := New(resource.Exit{Type: resource.Proxy, URL: u}, m, zerolog.Nop()).Dial(t.Context(), "tcp", "db.corp.test:5432")
			if err == nil {
				b, _ := io.ReadAll(c)
				_ = c.Close()
				if string(b) != "db.corp.test:5432" {
					t.Errorf("%s: reached %q", kind, b)
				}
			}
			e, _ := errors.AsType[*tunnel.Error](err)
			switch {
			case want == "" && err != nil, want != "" && (e == nil || e.Code != tunnel.Denied || !strings.Contains(e.Reason, want)):
				t.Errorf("%s %q: %v, want %q", kind, shown, err, want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%s: the error tells the password: %v", kind, err)
			}
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Negotiate")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	if _, err := New(resource.Exit{Type: resource.Proxy, URL: u}, machine{}, zerolog.Nop()).Dial(t.Context(), "tcp", "10.0.0.1:80"); err == nil || !strings.Contains(err.Error(), "only Basic is supported") {
		t.Error(err)
	}
}

// askingProxy is a proxy that wants "user/password" and says over the connection
// what it was asked for.
func askingProxy(t *testing.T, kind, wants string) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { ln.Close() })
	if kind == "http" {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			given := strings.TrimPrefix(r.Header.Get("Proxy-Authorization"), "Basic ")
			if b, _ := base64.StdEncoding.DecodeString(given); strings.Replace(string(b), ":", "/", 1) != wants {
				w.Header().Set("Proxy-Authenticate", `Negotiate, Basic realm="x"`)
				if given == "" {
					w.WriteHeader(http.StatusProxyAuthRequired)
				} else {
					w.WriteHeader(http.StatusUnauthorized) // as tinyproxy has it
				}
				return
			}
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+r.Host)
		})}
		wg.Go(func() { _ = srv.Serve(ln) })
	} else {
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				wg.Go(func() { defer c.Close(); askingSOCKS(c, wants) })
			}
		})
	}
	return &url.URL{Scheme: kind, Host: ln.Addr().String()}
}

func askingSOCKS(c net.Conn, wants string) {
	read := func(n byte) string {
		b := make([]byte, n)
		_, _ = io.ReadFull(c, b)
		return string(b)
	}
	if methods := read(read(2)[1]); !strings.Contains(methods, "\x02") {
		_, _ = c.Write([]byte{5, 0xff})
		return
	}
	_, _ = c.Write([]byte{5, 2})
	user := read(read(2)[1])
	if user+"/"+read(read(1)[0]) != wants {
		_, _ = c.Write([]byte{1, 1})
		return
	}
	_, _ = c.Write([]byte{1, 0})
	if head := read(4); head[3] != 3 {
		_, _ = c.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	name, port := read(read(1)[0]), read(2)
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	_, _ = io.WriteString(c, net.JoinHostPort(name, strconv.Itoa(int(port[0])<<8|int(port[1]))))
}
