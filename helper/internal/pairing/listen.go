package pairing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"
)

const maxWebSockets = 16

// Listener serves pages in the user's browser. All fields are required, except User,
// Own and Origins.
type Listener struct {
	Log     zerolog.Logger
	Pairing *Pairing
	User    terminal.Asker // nil if there is nobody to ask
	Origins []string       // of pages that the command line allows
	Port    int            // that it listens at
	// Own serves the helper's own pages, whose paths begin with OwnPath.
	Own     http.Handler
	OwnPath string
	// Serve serves one page's conversation until it ends.
	Serve func(ctx context.Context, p rpc.Pipe, origin string)

	slots    chan struct{}
	codes    codes
	codeTime time.Duration // for tests; 0 is maxCodeTime
	wg       sync.WaitGroup
}

// CheckAddress refuses everything but a loopback address with a port.
func CheckAddress(addr string) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("--listen takes a loopback address and a port, as in 127.0.0.1:7741, not %q", addr)
	}
	return nil
}

// errInUse is the system's error for a port that is taken. Windows has its own number.
const errInUse = syscall.Errno(10048)

// Listen listens at an address that CheckAddress allows.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, errInUse) {
		return nil, fmt.Errorf("%s is in use: give --listen another port, and set causeway.localHelperPort in the editor to the same port", addr)
	}
	return ln, err
}

// CheckOrigins refuses strings that cannot be the origin of a page.
func CheckOrigins(list []string) error {
	for _, o := range list {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("--origin takes a page's origin, as in https://name.github.dev, not %q", o)
		}
	}
	return nil
}

// Run serves the pages that come to ln until ctx ends. It closes ln.
func (l *Listener) Run(ctx context.Context, ln net.Listener) error {
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

// ServeHTTP implements http.Handler.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.wg.Add(1)
	defer l.wg.Done()
	origin := r.Header.Get("Origin")
	reason := l.foreign(r)
	if reason == "" && l.Own != nil && strings.HasPrefix(r.URL.Path, l.OwnPath) {
		l.Own.ServeHTTP(w, r)
		return
	}
	if reason == "" {
		reason = l.refusal(origin)
	}
	if reason != "" {
		l.Log.Warn().Str("origin", terminal.Printable(origin)).Str("host", terminal.Printable(r.Host)).Str("reason", reason).Msg("page refused")
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
		l.Log.Debug().Err(err).Msg("page did not open a WebSocket")
		return
	}
	if r.URL.Path == pairPath {
		if l.User == nil {
			_ = c.Close(websocket.StatusPolicyViolation, "nobody can answer the helper: pair with its token")
			return
		}
		l.pair(c, r, origin)
		return
	}
	l.Serve(r.Context(), rpc.NewWebSocket(c), origin)
}

// foreign returns why a request is not for this helper; "" if it is. A name of
// somebody else may lead to this address (DNS rebinding).
func (l *Listener) foreign(r *http.Request) string {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != fmt.Sprint(l.Port) || host != "127.0.0.1" && host != "localhost" && host != "::1" {
		return "the request names another host than this address"
	}
	return ""
}

// refusal returns why the listener refuses a page; "" if it does not.
func (l *Listener) refusal(origin string) string {
	switch {
	case origin == "" || origin == "null":
		return "the request has no origin"
	case l.allowed(origin), l.User != nil:
		return ""
	}
	return "this page's origin is not allowed: start the helper where it can ask you, or with --origin"
}

func (l *Listener) allowed(origin string) bool {
	return slices.Contains(l.Origins, origin) || l.Pairing.knows(origin)
}

// Admit asks the user about a page that has shown the token but comes from a new
// origin.
func (l *Listener) Admit(ctx context.Context, origin string) error {
	if l.allowed(origin) {
		return nil
	}
	answer, err := l.User.Ask(ctx, fmt.Sprintf("\nA page from %s has the pairing token. Let it use this helper?", terminal.Printable(origin)), "yes", "no")
	if err != nil {
		return err
	}
	if answer != "yes" {
		return errRefused
	}
	return l.Pairing.allow(origin)
}
