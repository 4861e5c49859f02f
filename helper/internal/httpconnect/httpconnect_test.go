package httpconnect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open asks a proxy that answers with that text, and returns what the proxy was asked.
func open(t *testing.T, ctx context.Context, answer string, user *Credentials) (c net.Conn, asked string, err error) { //nolint:revive // the context is the caller's subject
	t.Helper()
	near, far := net.Pipe()
	heard := make(chan string, 1)
	go func() {
		b := make([]byte, 1000)
		n, _ := far.Read(b)
		heard <- string(b[:n])
		_, _ = io.WriteString(far, answer)
		if answer != "" {
			_ = far.Close()
		}
	}()
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	p := Proxy{URL: &url.URL{Scheme: "http", Host: "proxy.test"}, User: user, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" || address != "proxy.test:80" {
			t.Errorf("dialled %s %s", network, address)
		}
		return near, nil
	}}
	c, err = p.Open(ctx, "db.test:5432")
	return c, <-heard, err
}

func TestOpen(t *testing.T) {
	c, asked, err := open(t, t.Context(), "HTTP/1.1 200 OK\r\nX: y\r\n\r\nat once", &Credentials{"me", "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "at once" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if want := "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"; asked != want {
		t.Errorf("asked %q", asked)
	}
}

func TestRefused(t *testing.T) {
	_, asked, err := open(t, t.Context(), "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", nil)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Code != 407 || refused.Header.Get("Proxy-Authenticate") == "" || strings.Contains(asked, "Authorization") {
		t.Errorf("%v, asked %q", err, asked)
	}
	for what, answer := range map[string]string{"no HTTP": "SSH-2.0-x\r\n", "cut short": "HTTP/1.1 200 OK\r\n", "endless": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 2*maxAnswer)} {
		if _, _, err := open(t, t.Context(), answer, nil); err == nil {
			t.Errorf("%s: connected", what)
		}
	}
}

func TestSilentProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, _, err := open(t, ctx, "", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
