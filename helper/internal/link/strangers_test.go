package link

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/rs/zerolog"
)

// dialPort connects to a direct listener and says nothing.
func dialPort(t *testing.T, port int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// closed reports whether the other side closes c within that time.
func closed(c net.Conn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c) // the listener greets too
	return !isTimeout(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// Connections that say nothing occupy the listener for a moment only, and what
// they cost is bounded.
func TestStrangersGiveWay(t *testing.T) {
	gw, capt := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	port, err := Listen(ctx, capt, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	m := hostile.NewMeter(t)
	var silent []net.Conn
	for range 5 * maxStrangers {
		silent = append(silent, dialPort(t, port))
	}
	defer func() {
		for _, c := range silent {
			_ = c.Close()
		}
	}()
	if !closed(silent[len(silent)-1], 5*time.Second) {
		t.Error("there is room for any number of strangers")
	}
	// A goroutine and a buffer of 257 KiB for each, and both ends' descriptors.
	m.AtMost(hostile.Usage{Goroutines: 3 * maxStrangers, Heap: 8 << 20, Descriptors: 6 * maxStrangers})
	d := Direct{Carrier: gw, Log: zerolog.Nop(), Wanted: func() bool { return false }}
	taken := false
	for start := time.Now(); !taken && time.Since(start) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
		taken = d.dial(ctx, port) == nil
	}
	if !taken || capt.Link().Kind != carrier.KindDirect {
		t.Error("strangers keep the gateway out")
	}
	if !closed(silent[0], 5*time.Second) {
		t.Error("the oldest stranger did not give way")
	}
}
