package link

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/rs/zerolog"
)

const (
	directTime   = 10 * time.Second // to connect and to greet
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
	go acceptDirect(ctx, ln, c, log)
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func acceptDirect(ctx context.Context, ln net.Listener, c *carrier.Conn, log zerolog.Logger) {
	slots := make(chan struct{}, maxStrangers)
	var refused atomic.Uint64
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // out of descriptors: some may be given back
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		go func() {
			defer func() { <-slots }()
			greeting, cancel := context.WithTimeoutCause(ctx, directTime, errors.New("it did not greet in time"))
			defer cancel()
			if err := c.Attach(greeting, carrier.NewStream(conn)); err != nil {
				log.Warn().Err(err).Uint64("refused", refused.Add(1)).Msg("direct link not taken")
				return
			}
			log.Info().Str("link", carrier.KindDirect).Msg("link taken")
		}()
	}
}
