// Package httpconnect is the client of HTTP proxies: it opens connections by CONNECT.
package httpconnect

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// maxAnswer bounds the header of a proxy's answer, in bytes.
const maxAnswer = 32 << 10

// RefusedError is the error of a proxy that answers CONNECT with another status than 200.
type RefusedError struct {
	Code   int // HTTP status
	Status string
	Header http.Header
}

// Error implements error.
func (r *RefusedError) Error() string { return "the proxy answers CONNECT with " + r.Status }

// Proxy is an HTTP proxy.
type Proxy struct {
	URL  *url.URL      // http or https; its userinfo is not used
	Dial netx.DialFunc // connects to the proxy; required
	User *Credentials  // nil: none
}

// Credentials are for Basic authentication (RFC 7617).
type Credentials struct{ User, Password string }

// Open asks the proxy for a connection to address, a host and port. An error of Dial
// is returned as it is. The error is a *RefusedError if the proxy answers with another status than
// 200.
func (p Proxy) Open(ctx context.Context, address string) (_ net.Conn, err error) {
	c, err := p.Connect(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = c.Close()
		}
	}()
	return c, p.ask(c, address)
}

// Connect returns a connection to the proxy itself, for requests with whole URLs. An
// error of Dial is returned as it is.
func (p Proxy) Connect(ctx context.Context) (net.Conn, error) {
	port := cmp.Or(p.URL.Port(), map[string]string{"http": "80", "https": "443"}[p.URL.Scheme])
	raw, err := p.Dial(ctx, "tcp", net.JoinHostPort(p.URL.Hostname(), port))
	if err != nil || p.URL.Scheme != "https" {
		return raw, err
	}
	c := tls.Client(raw, &tls.Config{ServerName: p.URL.Hostname(), MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("shake hands with the proxy: %w", err)
	}
	return c, nil
}

// Authorization is the line of a header that tells the proxy who asks, with its end.
// It is "" without User.
func (p Proxy) Authorization() string {
	if p.User == nil {
		return ""
	}
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User.User+":"+p.User.Password)) + "\r\n"
}

// ask sends the request and reads the answer's header, and nothing behind that.
func (p Proxy) ask(c net.Conn, address string) error {
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", address, address, p.Authorization()); err != nil {
		return fmt.Errorf("send CONNECT: %w", err)
	}
	head := bufio.NewReaderSize(io.LimitReader(single{c}, maxAnswer), 16)
	answer, err := http.ReadResponse(head, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("read the answer to CONNECT: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &RefusedError{Code: answer.StatusCode, Status: answer.Status, Header: answer.Header}
	}
	return nil
}

// single reads one byte at a time: what follows the answer belongs to the target.
type single struct{ r io.Reader }

func (s single) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 1)]) }
