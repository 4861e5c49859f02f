package link

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/rs/zerolog"
)

const (
	directTime   = 10 * time.Second // to connect and to greet
	greetTime    = time.Second      // after which a stranger gives way to another one
	maxStrangers = 16               // connections that have not shown the secret yet
)

// PreferredPort returns the port that the sessions of a window prefer for direct
// links; 0 if there is no window. It is always the same: the editor keeps a
// forwarded port until the window closes, so a new port for each session would
// add up.
func PreferredPort(window string) int {
	if window == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%d %s", os.Getuid(), window)
	return 16384 + int(h.Sum32()%8192) // below what systems hand out by themselves
}

// Listen accepts direct links for c at a loopback port until ctx ends: those that
// show the session's secret. It returns the port, which is preferred if that is
// free.
func Listen(ctx context.Context, c *carrier.Conn, preferred int, log zerolog.Logger) (port int, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil && preferred != 0 {
		ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, fmt.Errorf("listen for direct links: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	l := &listener{ln: ln, c: c, log: log, allowed: sameUser(os.Getuid())}
	go l.accept(ctx)
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// listener accepts direct links for one session.
type listener struct {
	ln      net.Listener
	c       *carrier.Conn
	log     zerolog.Logger
	allowed func(net.Conn) error // refuses the connections of other users
	refused atomic.Uint64

	mu        sync.Mutex
	strangers []*stranger // the oldest first
}

// stranger is a connection that has not shown the secret yet.
type stranger struct {
	since   time.Time
	giveWay context.CancelCauseFunc
}

var (
	errSilent  = errors.New("it did not greet in time")
	errGaveWay = errors.New("it did not greet before others came")
)

func (l *listener) accept(ctx context.Context) {
	again := netx.Backoff{First: 5 * time.Millisecond, Most: time.Second}
	for {
		conn, err := l.ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			_ = again.Wait(ctx) // out of descriptors: some may be given back
			continue
		}
		again.Reset()
		if err := l.allowed(conn); err != nil {
			l.log.Warn().Err(err).Uint64("refused", l.refused.Add(1)).Msg("direct link refused")
			_ = conn.Close()
			continue
		}
		greeting, leave, ok := l.enter(ctx)
		if !ok {
			_ = conn.Close()
			continue
		}
		go func() {
			defer leave()
			if err := l.c.Attach(greeting, carrier.NewStream(conn)); err != nil {
				l.log.Warn().Err(err).Uint64("refused", l.refused.Add(1)).Msg("direct link not taken")
				return
			}
			l.log.Info().Str("link", carrier.KindDirect).Msg("link taken")
		}()
	}
}

// enter makes room for a stranger. Where maxStrangers are there already, the
// oldest gives way if it has had time to greet; else there is no room. Greeting
// is the context of the stranger's greeting.
func (l *listener) enter(ctx context.Context) (greeting context.Context, leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.strangers) >= maxStrangers {
		oldest := l.strangers[0]
		if time.Since(oldest.since) < greetTime {
			return nil, nil, false
		}
		l.strangers = l.strangers[1:]
		oldest.giveWay(errGaveWay)
	}
	s := &stranger{since: time.Now()}
	timed, cancel := context.WithTimeoutCause(ctx, directTime, errSilent)
	greeting, s.giveWay = context.WithCancelCause(timed)
	l.strangers = append(l.strangers, s)
	return greeting, func() {
		cancel()
		s.giveWay(nil)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.strangers = slices.DeleteFunc(l.strangers, func(other *stranger) bool { return other == s })
	}, true
}

// sameUser allows the connections of uid and of root. Where the kernel does not
// tell whose a connection is, it allows all: each has to show the secret.
func sameUser(uid int) func(net.Conn) error {
	return func(c net.Conn) error {
		switch peer, err := kernelnet.PeerUID(c); {
		case errors.Is(err, kernelnet.ErrGone) && isLoopback(c.RemoteAddr()):
			return err // a user of this host has closed it; other hosts' sockets are never found
		case err == nil && peer != uid && peer != 0:
			return fmt.Errorf("user %d of this host, not the one that the helper serves, has connected", peer)
		}
		return nil
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
