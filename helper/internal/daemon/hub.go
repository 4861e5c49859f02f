package daemon

import (
	"context"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/logs"
	"github.com/rs/zerolog"
)

// Hub passes log lines on to the shims that listen, to each from its own level
// on. A shim that is slow misses lines; nobody waits for it.
type Hub struct {
	least atomic.Int32 // level that any of the shims wants

	mu   sync.Mutex
	outs map[*listener]struct{}
}

// listener is a shim that listens.
type listener struct {
	shim  string // identifier, by which its conversation sets the level; "" for an old shim
	level zerolog.Level
	lines chan []byte
}

// NewHub returns a hub without listeners.
func NewHub() *Hub {
	h := &Hub{outs: make(map[*listener]struct{})}
	h.least.Store(math.MaxInt32)
	return h
}

const hubQueue = 256 // lines

// Sample implements zerolog.Sampler: some shim wants events of that level.
func (h *Hub) Sample(level zerolog.Level) bool { return int32(level) >= h.least.Load() }

// Write takes one line that every shim gets.
func (h *Hub) Write(p []byte) (int, error) { return h.WriteLevel(zerolog.NoLevel, p) }

// WriteLevel implements zerolog.LevelWriter.
func (h *Hub) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var line []byte
	for out := range h.outs {
		if level < out.level {
			continue
		}
		if line == nil {
			line = append(line, p...)
		}
		select {
		case out.lines <- line:
		default:
		}
	}
	return len(p), nil
}

// listen keeps lines from now on, for serve.
func (h *Hub) listen(shim string) *listener {
	out := &listener{shim: shim, level: zerolog.InfoLevel, lines: make(chan []byte, hubQueue)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outs[out] = struct{}{}
	h.findLeast()
	return out
}

// leave ends what listen began.
func (h *Hub) leave(out *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.outs, out)
	h.findLeast()
}

// setLevel changes the level of what a shim gets.
func (h *Hub) setLevel(shim, name string) error {
	level, err := logs.Parse(name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for out := range h.outs {
		if out.shim == shim {
			out.level = level
		}
	}
	h.findLeast()
	return nil
}

func (h *Hub) findLeast() {
	least := int32(math.MaxInt32)
	for out := range h.outs {
		least = min(least, int32(out.level))
	}
	h.least.Store(least)
}

// serve passes lines on to c until it ends, or ctx.
func (h *Hub) serve(ctx context.Context, c net.Conn, out *listener) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = c.Read(make([]byte, 1)) // nothing comes: it ends when the shim does
	}()
	defer func() {
		_ = c.Close()
		<-gone
	}()
	write := func(line []byte, within time.Duration) bool {
		_ = c.SetWriteDeadline(time.Now().Add(within))
		_, err := c.Write(line)
		return err == nil
	}
	for {
		select {
		case line := <-out.lines:
			if !write(line, greetTime) {
				return
			}
		case <-gone:
			return
		case <-ctx.Done():
			for { // the last words
				select {
				case line := <-out.lines:
					if !write(line, time.Second) {
						return
					}
				default:
					return
				}
			}
		}
	}
}
