package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"
)

const (
	maxWebSockets = 16
	pairTime      = 10 * time.Second // to show the token
)

// listener serves the gateway's role to pages in the user's browser.
type listener struct {
	log      zerolog.Logger
	pairing  *pairing
	terminal *terminal // nil if there is nobody to ask
	origins  []string  // allowed by the command line
	port     int
	// serve serves one page's conversation until it ends.
	serve func(ctx context.Context, p rpc.Pipe, origin string)

	slots chan struct{}
	wg    sync.WaitGroup
}

// listenLocal listens on a loopback address only.
func listenLocal(addr string) (net.Listener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Unmap().IsLoopback() {
		return nil, usageError(fmt.Errorf("--listen takes a loopback address and a port, as in 127.0.0.1:7741, not %q", addr))
	}
	return net.Listen("tcp", addr)
}

// parseOrigins checks what --origin was given.
func parseOrigins(list []string) ([]string, error) {
	for _, o := range list {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return nil, usageError(fmt.Errorf("--origin takes a page's origin, as in https://name.github.dev, not %q", o))
		}
	}
	return list, nil
}

func (l *listener) run(ctx context.Context, ln net.Listener) error {
	l.slots = make(chan struct{}, maxWebSockets)
	srv := &http.Server{
		Handler:           l,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(ln)
	l.wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.wg.Add(1)
	defer l.wg.Done()
	origin := r.Header.Get("Origin")
	if reason := l.refusal(r, origin); reason != "" {
		l.log.Warn().Str("origin", printable(origin)).Str("host", printable(r.Host)).Str("reason", reason).Msg("page refused")
		http.Error(w, "causeway: "+reason, http.StatusForbidden)
		return
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	default:
		http.Error(w, "causeway: too many connections", http.StatusServiceUnavailable)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // refusal has verified the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		l.log.Debug().Err(err).Msg("page did not open a WebSocket")
		return
	}
	l.serve(r.Context(), rpc.NewWebSocket(c), origin)
}

// refusal says why a request is not even looked at; "" if it is.
func (l *listener) refusal(r *http.Request, origin string) string {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != fmt.Sprint(l.port) || host != "127.0.0.1" && host != "localhost" && host != "::1" {
		return "this address is not what the request calls it" // a rebound name
	}
	switch {
	case origin == "" || origin == "null":
		return "a page has to say where it is from"
	case l.allowed(origin), l.terminal != nil:
		return ""
	}
	return "this page's origin is not allowed; start the helper on a terminal, or with --origin"
}

func (l *listener) allowed(origin string) bool {
	return slices.Contains(l.origins, origin) || l.pairing.knows(origin)
}

// admit asks the user about a page that has shown the token but comes from an
// origin that is new.
func (l *listener) admit(ctx context.Context, origin string) error {
	if l.allowed(origin) {
		return nil
	}
	answer, err := l.terminal.ask(ctx, fmt.Sprintf("\nA page from %s has the pairing token. Let it use this helper?", printable(origin)), "yes", "no")
	if err != nil {
		return err
	}
	if answer != "yes" {
		return errors.New("the user did not allow this page")
	}
	return l.pairing.allow(origin)
}
