package daemon

import (
	"context"
	"net"
	"sync"
	"time"
)

// Hub passes log lines on to the fronts that listen. A front that is slow
// misses lines; nobody waits for it.
type Hub struct {
	mu   sync.Mutex
	outs map[chan []byte]struct{}
}

// NewHub returns a hub without listeners.
func NewHub() *Hub { return &Hub{outs: make(map[chan []byte]struct{})} }

const hubQueue = 256 // lines

// Write takes one line.
func (h *Hub) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.outs) == 0 {
		return len(p), nil
	}
	line := append([]byte(nil), p...)
	for out := range h.outs {
		select {
		case out <- line:
		default:
		}
	}
	return len(p), nil
}

// listen has lines kept from now on, for serve.
func (h *Hub) listen() chan []byte {
	out := make(chan []byte, hubQueue)
	h.mu.Lock()
	h.outs[out] = struct{}{}
	h.mu.Unlock()
	return out
}

// leave ends what listen began.
func (h *Hub) leave(out chan []byte) {
	h.mu.Lock()
	delete(h.outs, out)
	h.mu.Unlock()
}

// serve passes lines on to c until it ends.
func (h *Hub) serve(ctx context.Context, c net.Conn, out <-chan []byte) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = c.Read(make([]byte, 1)) // nothing comes: it ends when the front does
	}()
	defer func() {
		_ = c.Close()
		<-gone
	}()
	for {
		select {
		case line := <-out:
			_ = c.SetWriteDeadline(time.Now().Add(greetTime))
			if _, err := c.Write(line); err != nil {
				return
			}
		case <-gone:
			return
		case <-ctx.Done():
			for { // the last words
				select {
				case line := <-out:
					_ = c.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := c.Write(line); err != nil {
						return
					}
					continue
				default:
				}
				return
			}
		}
	}
}
