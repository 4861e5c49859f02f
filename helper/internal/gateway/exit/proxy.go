package exit

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/net/proxy"
)

// upstream is an exit by a SOCKS5 or HTTP proxy. It carries TCP to addresses
// that the machine's own resolver found.
type upstream struct {
	System
	url *url.URL
}

// Close implements Exit.
func (*upstream) Close() error { return nil }

// Dial implements Exit.
func (u *upstream) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, &tunnel.Error{Code: tunnel.Failed, Reason: "a proxy exit carries TCP only"}
	}
	if u.url.Scheme == "socks5" {
		return u.socks(ctx, address)
	}
	return u.connect(ctx, address)
}

func (u *upstream) socks(ctx context.Context, address string) (net.Conn, error) {
	d, err := proxy.SOCKS5("tcp", u.url.Host, nil, forward{u})
	if err != nil {
		return nil, err
	}
	c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, u.socksError(err)
	}
	return c, nil
}

// socksError tells the replies of a SOCKS5 server apart, which its client has
// as texts only.
func (u *upstream) socksError(err error) error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	for text, code := range map[string]tunnel.Code{
		"connection refused": tunnel.Refused, "host unreachable": tunnel.HostUnreachable,
		"network unreachable": tunnel.NetUnreachable, "TTL expired": tunnel.TimedOut,
		"connection not allowed by ruleset": tunnel.Denied,
	} {
		if strings.HasSuffix(err.Error(), text) {
			return &tunnel.Error{Code: code, Reason: fmt.Sprintf("the proxy %s says: %s", u.url.Host, text)}
		}
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return &tunnel.Error{Code: tunnel.TimedOut, Reason: fmt.Sprintf("the proxy %s did not answer in time", u.url.Host)}
	}
	return fmt.Errorf("proxy %s: %w", u.url.Host, err)
}

// forward reaches the proxy itself.
type forward struct{ u *upstream }

func (f forward) Dial(network, address string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, address)
}

// DialContext says that it was the proxy, not the target, that failed.
func (f forward) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		code := tunnel.Failed
		if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
			code = tunnel.TimedOut
		}
		return nil, &tunnel.Error{Code: code, Reason: fmt.Sprintf("the proxy %s cannot be reached: %v", f.u.url.Host, err)}
	}
	return c, nil
}

// connect asks an HTTP proxy for a tunnel to address.
func (u *upstream) connect(ctx context.Context, address string) (_ net.Conn, err error) {
	c, err := forward{u}.DialContext(ctx, "tcp", u.url.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = c.Close()
		}
	}()
	if u.url.Scheme == "https" {
		t := tls.Client(c, &tls.Config{ServerName: u.url.Hostname(), MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", u.url.Host, err)
		}
		c = t
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address); err != nil {
		return nil, fmt.Errorf("proxy %s: %w", u.url.Host, err)
	}
	// A byte at a time: what follows the answer is the target's.
	head := bufio.NewReaderSize(io.LimitReader(single{c}, 32<<10), 16)
	answer, err := http.ReadResponse(head, &http.Request{Method: http.MethodConnect})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("proxy %s: %w", u.url.Host, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return c, nil
	}
	code := tunnel.Failed
	switch answer.StatusCode {
	case http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusMethodNotAllowed:
		code = tunnel.Denied
	case http.StatusGatewayTimeout:
		code = tunnel.TimedOut
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusInternalServerError:
		code = tunnel.HostUnreachable
	}
	return nil, &tunnel.Error{Code: code, Reason: fmt.Sprintf("the proxy %s answers CONNECT with %d", u.url.Host, answer.StatusCode)}
}

// single reads a byte at a time.
type single struct{ r io.Reader }

func (s single) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 1)]) }
