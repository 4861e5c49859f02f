package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const maxHeader = 64 << 10

type connKey struct{}

func connOf(ctx context.Context) *peeked { c, _ := ctx.Value(connKey{}).(*peeked); return c }

func (p *Proxy) httpServer() *http.Server {
	quiet := log.New(io.Discard, "", 0)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host
			r.Out.URL = asWritten(r.In)
			for name := range r.In.Header { // ReverseProxy removes these
				if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
					r.Out.Header[name] = r.In.Header[name]
				}
			}
		},
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			host, port, err := splitTarget(r.URL.Host, "80")
			switch {
			case err != nil:
				return nil, err
			case p.o.Match("tcp", host, port):
				return connOf(r.Context()).resources.RoundTrip(r)
			case p.out.strict():
				return nil, errStrict
			}
			if via, err := p.out.upstream(r.URL); err == nil && via != nil && r.URL.Opaque != "" {
				r = r.Clone(r.Context())
				r.URL.Opaque = "//" + r.URL.Host + r.URL.Opaque // a proxy gets the whole URL
			}
			resp, err := p.out.direct.RoundTrip(r)
			if err != nil {
				err = directError(err)
			}
			return resp, err
		}),
		FlushInterval: -1,
		ErrorLog:      quiet,
		ErrorHandler:  func(w http.ResponseWriter, r *http.Request, err error) { refuse(w, r.URL.Host, err) },
	}
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodConnect:
				p.connect(w, r)
			case r.URL.Scheme == "http" && r.URL.Host != "":
				forward.ServeHTTP(w, r)
			default:
				http.Error(w, "This is causeway's proxy: it takes CONNECT and absolute http:// URLs, and SOCKS4 and 5.", http.StatusBadRequest)
			}
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			client := c.(*peeked)
			client.resources = p.viaGateway(client.who)
			return context.WithValue(ctx, connKey{}, client)
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				c.(*peeked).finish()
			}
		},
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		ReadHeaderTimeout: handshakeTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quiet,
	}
}

// asWritten returns the URL of a request. Its path and query stay as the client wrote
// them: characters such as "|" are not escaped.
func asWritten(r *http.Request) *url.URL {
	u := *r.URL
	_, rest, _ := strings.Cut(r.RequestURI, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && rest[i] == '/' && !strings.HasPrefix(rest[i:], "//") {
		u.Opaque, _, _ = strings.Cut(rest[i:], "?") // the query is in RawQuery, unchanged
	}
	return &u
}

// viaGateway is one client's way to resources. It pools connections per target, for
// this client alone: the gateway has judged the target and the program. The gateway
// resets the connections when the approval ends.
func (p *Proxy) viaGateway(who owner.Owner) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, port, err := splitTarget(addr, "80")
			if err != nil {
				return nil, err
			}
			// If the client gives this request up, the transport goes on dialling for
			// later requests. Close ends that.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(p.ctx, cancel)()
			return p.out.open(ctx, "http", host, port, who)
		},
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// connect serves CONNECT. It confirms nothing before the target is connected.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := splitTarget(r.Host, "")
	if err != nil {
		http.Error(w, "CONNECT takes host:port: "+err.Error(), http.StatusBadRequest)
		return
	}
	target, err := p.out.dial(r.Context(), "http", host, port, connOf(r.Context()).who)
	if err != nil {
		refuse(w, r.Host, err)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = target.Close()
		return
	}
	client := connOf(r.Context())
	defer client.finish()
	_ = c.SetDeadline(time.Time{})
	// The client may have sent data ahead of the reply. This data comes first.
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered())
	_, err = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	if err == nil && len(ahead) > 0 {
		_, err = target.Write(ahead)
	}
	if err != nil {
		netx.ResetConn(target, err.Error())
		_ = c.Close()
		return
	}
	p.o.Gateway.Relay(p.ctx, client.TCPConn, target, tunnel.Target{Network: tunnel.TCP, Host: tunnel.Clean(host), Port: port})
}

// refuse answers a request that failed: it tells what failed, for which target, and
// what to do. It writes nothing if the client is gone.
func refuse(w http.ResponseWriter, target string, err error) {
	if errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	status, advice := http.StatusBadGateway, "Test the resource from the editor's Causeway view."
	switch flow.Code(err) {
	case tunnel.Denied:
		status, advice = http.StatusForbidden, "Add it to causeway.resources and approve it to reach it."
	case tunnel.TimedOut:
		status, advice = http.StatusGatewayTimeout, "Is the VPN on the developer's machine up?"
	case tunnel.Overloaded:
		status, advice = http.StatusServiceUnavailable, "Try again with fewer connections at once."
	}
	http.Error(w, fmt.Sprintf("causeway: %s: %v. %s", tunnel.Clean(target), err, advice), status)
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
	if err != nil || n == 0 || host == "" || len(host) > tunnel.MaxHost || strings.ContainsFunc(host, notInName) {
		return "", 0, fmt.Errorf("%.300q is no host and port", s)
	}
	return host, uint16(n), nil
}
