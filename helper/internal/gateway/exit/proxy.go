package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/httpconnect"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/net/proxy"
)

// upstream is an exit by a SOCKS5 or HTTP proxy. It carries TCP only. The machine's own
// resolver resolves its names, unless the resource leaves the name to the proxy.
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
	var auth *proxy.Auth
	known, shown := u.Credentials(u.url.String())
	if shown {
		auth = &proxy.Auth{User: known.User, Password: known.Password}
	}
	d, err := proxy.SOCKS5("tcp", u.url.Host, auth, forward{u})
	if err != nil {
		return nil, err
	}
	c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err != nil {
		if text := err.Error(); strings.HasSuffix(text, "authentication methods") || strings.HasSuffix(text, "authentication failed") {
			return nil, u.unauthorized(shown)
		}
		return nil, u.socksError(err)
	}
	return c, nil
}

// unauthorized is the answer to a flow if the proxy wants credentials, or does not
// accept those that it was shown.
func (u *upstream) unauthorized(shown bool) error {
	reason := "asks for a user and a password"
	if shown {
		reason = "does not accept the user and the password"
	}
	return &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf(
		`the proxy %s %s: give them by "Causeway: Set Proxy Credentials…", or on the command line by --credentials`, u.url.Host, reason)}
}

// socksError returns the answer to a flow for the reply of a SOCKS5 server. The client
// library returns the reply as text only.
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

// DialContext returns an error which says that the proxy, not the target, failed.
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
func (u *upstream) connect(ctx context.Context, address string) (net.Conn, error) {
	p := httpconnect.Proxy{URL: u.url, Dial: forward{u}.DialContext}
	known, shown := u.Credentials(u.url.String())
	if shown {
		p.User = &httpconnect.Credentials{User: known.User, Password: known.Password}
	}
	c, err := p.Open(ctx, address)
	if refused, ok := errors.AsType[*httpconnect.RefusedError](err); ok {
		return nil, u.connectRefused(refused, shown)
	}
	if _, told := errors.AsType[*tunnel.Error](err); err != nil && !told {
		err = fmt.Errorf("proxy %s: %w", u.url.Host, err)
	}
	return c, err
}

// connectRefused returns the answer to a flow for the answer of an HTTP proxy.
func (u *upstream) connectRefused(answer *httpconnect.RefusedError, shown bool) error {
	// Some proxies ask for the user's password by 401, too.
	if answer.Code == http.StatusProxyAuthRequired || answer.Code == http.StatusUnauthorized {
		if schemes := answer.Header.Values("Proxy-Authenticate"); len(schemes) > 0 && !slices.ContainsFunc(schemes, isBasic) {
			return &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("the proxy %s wants another authentication than Basic, and only Basic is supported", u.url.Host)}
		}
		return u.unauthorized(shown)
	}
	code := tunnel.Failed
	switch answer.Code {
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		code = tunnel.Denied
	case http.StatusGatewayTimeout:
		code = tunnel.TimedOut
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusInternalServerError:
		code = tunnel.HostUnreachable
	}
	return &tunnel.Error{Code: code, Reason: fmt.Sprintf("the proxy %s answers CONNECT with %d", u.url.Host, answer.Code)}
}

// isBasic reports whether challenges contain Basic (RFC 7617).
func isBasic(challenges string) bool { return strings.Contains(strings.ToLower(challenges), "basic") }
