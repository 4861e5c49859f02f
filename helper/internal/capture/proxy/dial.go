package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/httpconnect"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/net/http/httpproxy"
	xproxy "golang.org/x/net/proxy"
)

const (
	dialTime = 30 * time.Second
	// openTime is how long the gateway may take to answer, also while the link is
	// lost.
	openTime = 2 * time.Minute
)

// dialer opens connections: by the gateway, or as this machine did without the proxy.
type dialer struct {
	o        Options
	upstream func(*url.URL) (*url.URL, error) // the proxy for a URL, nil for none
	net      net.Dialer
}

func newDialer(o Options, self string) dialer {
	env := o.Environment
	if env == nil {
		env = environment()
	}
	find := env.ProxyFunc()
	d := dialer{o: o, net: net.Dialer{Timeout: dialTime}}
	d.upstream = func(u *url.URL) (*url.URL, error) {
		via, err := find(u)
		if via != nil && isSelf(via, self, o.UID) {
			return nil, err // a causeway session has set this environment
		}
		return via, err
	}
	return d
}

// environment returns the proxy settings of this process's environment, with
// ALL_PROXY, which httpproxy does not know.
func environment() *httpproxy.Config {
	env := httpproxy.FromEnvironment()
	all := cmp.Or(os.Getenv("ALL_PROXY"), os.Getenv("all_proxy"))
	env.HTTPProxy = cmp.Or(env.HTTPProxy, all)
	env.HTTPSProxy = cmp.Or(env.HTTPSProxy, all)
	return env
}

// isSelf tells whether via is a causeway proxy of this user: this one, or one of
// another session. The other one might use this one as its upstream.
func isSelf(via *url.URL, self string, uid int) bool {
	port, err := strconv.Atoi(via.Port())
	if err != nil || net.JoinHostPort("127.0.0.1", via.Port()) != self && !slices.Contains(Ports(uid), port) {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(via.Hostname()), ".")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (addr.Unmap().IsLoopback() || addr.Unmap().IsUnspecified())
}

func (d *dialer) strict() bool { return d.o.Strict != nil && d.o.Strict() }

var errStrict = &tunnel.Error{Code: tunnel.Denied, Reason: "it is no resource, and the proxy is set to refuse what is none"}

// match is Match of the options. If a resource has a port of localhost, its two addresses
// stand for it: name is the host to ask the gateway for.
func (d *dialer) match(network, host string, port uint16) (name string, ok bool) {
	if d.o.Match(network, host, port) {
		return host, true
	}
	if host != "127.0.0.1" && host != "::1" || !d.o.Match(network, "localhost", port) {
		return host, false
	}
	return "localhost", true
}

// dial connects to host and port. flow.Code knows its errors.
func (d *dialer) dial(ctx context.Context, source, host string, port uint16, who owner.Owner) (net.Conn, error) {
	if host, ok := d.match("tcp", host, port); ok {
		return d.open(ctx, source, host, port, who)
	}
	if d.strict() {
		return nil, errStrict
	}
	c, err := d.dialDirect(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, directError(err)
	}
	return c, nil
}

// open asks the gateway and waits for its answer.
func (d *dialer) open(ctx context.Context, source, host string, port uint16, who owner.Owner) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	st, err := d.o.Gateway.Dial(ctx, d.o.Gateway.Request(source, tunnel.Target{Network: tunnel.TCP, Host: host, Port: port}, who))
	if err != nil {
		return nil, err
	}
	return st, nil
}

// dialDirect connects as a program on this machine would without the proxy.
func (d *dialer) dialDirect(ctx context.Context, addr string) (net.Conn, error) {
	via, err := d.upstream(&url.URL{Scheme: "https", Host: addr})
	if err != nil {
		return nil, fmt.Errorf("proxy of this machine's environment: %w", err)
	}
	return d.through(ctx, via, addr)
}

// through connects to addr by the proxy via; nil means none.
func (d *dialer) through(ctx context.Context, via *url.URL, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if via == nil {
		return d.net.DialContext(ctx, "tcp", addr)
	}
	switch via.Scheme {
	case "socks5", "socks5h":
		sd, err := xproxy.FromURL(via, &d.net)
		if err != nil {
			return nil, err
		}
		return sd.(xproxy.ContextDialer).DialContext(ctx, "tcp", addr)
	case "http", "https":
		return d.connectVia(ctx, via, addr)
	default:
		return nil, fmt.Errorf("proxy of this machine's environment has scheme %q, which is not supported", via.Scheme)
	}
}

// connectVia asks an upstream HTTP proxy for a tunnel to addr.
func (d *dialer) connectVia(ctx context.Context, via *url.URL, addr string) (net.Conn, error) {
	c, err := d.httpProxy(via).Open(ctx, addr)
	if refused, ok := errors.AsType[*httpconnect.RefusedError](err); ok {
		return nil, fmt.Errorf("the proxy of this machine's environment says %s", refused.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("proxy of this machine's environment: %w", err)
	}
	return c, nil
}

// toProxy connects to an upstream HTTP proxy itself.
func (d *dialer) toProxy(ctx context.Context, via *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c, err := d.httpProxy(via).Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("proxy of this machine's environment: %w", err)
	}
	return c, nil
}

func (d *dialer) httpProxy(via *url.URL) httpconnect.Proxy {
	p := httpconnect.Proxy{URL: via, Dial: d.net.DialContext}
	if u := via.User; u != nil {
		password, _ := u.Password()
		p.User = &httpconnect.Credentials{User: u.Username(), Password: password}
	}
	return p
}

// directError gives an error of a direct connection the code that a flow would have.
func directError(err error) error {
	return &tunnel.Error{Code: flow.Code(err), Reason: err.Error()}
}

// splitTarget reads host and port. If s has no port, it returns the given one.
func splitTarget(s, port string) (string, uint16, error) {
	host := s
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if port == "" {
		return "", 0, err
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	n, err := strconv.ParseUint(port, 10, 16)
	if strings.Contains(host, ":") && err == nil {
		_, err = netip.ParseAddr(host)
	}
	if err != nil || n == 0 || host == "" || len(host) > tunnel.MaxHost || strings.ContainsFunc(host, notInName) {
		return "", 0, fmt.Errorf("%.300q is no host and port", s)
	}
	return host, uint16(n), nil
}
