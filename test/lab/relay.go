//go:build linux

package lab

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Relay joins connections to a server and can be told to misbehave as networks
// do. It stands for the editor's connection.
type Relay struct {
	ln   net.Listener
	dial func(context.Context) (net.Conn, error)
	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup

	mu    sync.Mutex
	state RelayState
	gate  chan struct{} // closed while bytes may pass
	conns map[net.Conn]bool
}

// RelayState is what a relay does and has done.
type RelayState struct {
	// Mode is "open", "cut" (connections are reset, new ones too) or "stall"
	// (connections stay and nothing moves).
	Mode string `json:"mode"`
	// Rate limits each direction of each connection, in bytes a second; 0 is no limit.
	Rate int64 `json:"rate"`
	// Delay is added in each direction, in milliseconds.
	Delay int64 `json:"delay"`
	// InFlight bounds the bytes of each direction of each connection between their
	// being taken and the news of their delivery having come back, as the window
	// of a forwarded port's channel does; 0 is no bound.
	InFlight int64 `json:"inFlight"`
	// Connections is how many are open, Accepted how many there ever were.
	Connections int `json:"connections"`
	Accepted    int `json:"accepted"`
	// Bytes that were passed on, to the server and from it.
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
}

// NewRelay serves ln, which it owns, until Close.
func NewRelay(ln net.Listener, dial func(context.Context) (net.Conn, error)) *Relay {
	r := &Relay{ln: ln, dial: dial, conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(r.gate)
	r.state.Mode = "open"
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.all.Go(r.accept)
	return r
}

// Addr returns the address that the relay listens on.
func (r *Relay) Addr() net.Addr { return r.ln.Addr() }

// State returns what the relay does and has done.
func (r *Relay) State() RelayState {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Connections = len(r.conns) / 2
	return s
}

// Cut resets all connections, and new ones until Resume.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Mode = "cut"
	r.closeConns()
	r.open()
}

// Stall holds back all bytes until Resume; connections stay and new ones are
// accepted.
func (r *Relay) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Mode = "stall"
	if r.isOpen() {
		r.gate = make(chan struct{})
	}
}

// Slow limits each direction of each connection to rate bytes a second and
// delays it. Zeros take the limits away.
func (r *Relay) Slow(rate int64, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Rate, r.state.Delay = max(rate, 0), max(delay, 0).Milliseconds()
}

// Bound sets InFlight of the state, for connections that are open too.
func (r *Relay) Bound(inFlight int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.InFlight = max(inFlight, 0)
}

// Resume ends Cut and Stall; a stalled connection goes on where it was.
func (r *Relay) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Mode = "open"
	r.open()
}

// Close resets all connections and waits for their end. It is idempotent.
func (r *Relay) Close() error {
	r.stop()
	err := r.ln.Close()
	r.mu.Lock()
	r.closeConns()
	r.open()
	r.mu.Unlock()
	r.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (r *Relay) isOpen() bool {
	select {
	case <-r.gate:
		return true
	default:
		return false
	}
}

func (r *Relay) open() {
	if !r.isOpen() {
		close(r.gate)
	}
}

func (r *Relay) closeConns() {
	for c := range r.conns {
		abort(c)
	}
}

func (r *Relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.state.Accepted++
		r.mu.Unlock()
		r.all.Go(func() { r.join(c) })
	}
}

func (r *Relay) join(client net.Conn) {
	if !r.passable() {
		abort(client)
		return
	}
	server, err := r.dial(r.ctx)
	if err != nil {
		abort(client)
		return
	}
	r.mu.Lock()
	if r.state.Mode == "cut" || r.ctx.Err() != nil {
		r.mu.Unlock()
		abort(client)
		abort(server)
		return
	}
	r.conns[client], r.conns[server] = true, true
	r.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client, &r.state.Up) })
	both.Go(func() { r.pump(client, server, &r.state.Down) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, client)
	delete(r.conns, server)
	r.mu.Unlock()
	client.Close()
	server.Close()
}

// passable waits while the relay is stalled, and reports whether it is open.
func (r *Relay) passable() bool {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	select {
	case <-gate:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Mode != "cut" && r.ctx.Err() == nil
}

// chunk is what was read at once, and when it may be passed on.
type chunk struct {
	data []byte
	due  time.Time
}

// pump copies from src to dst through a queue, which is what a delay needs: as
// much is under way as fits into the delay. A FIN passes, an error resets both.
func (r *Relay) pump(dst, src net.Conn, count *int64) {
	queue := make(chan chunk, 256)
	failed := make(chan struct{})
	w := &window{freed: make(chan struct{}, 1)}
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(queue)
		for {
			room, ok := w.room(r.inFlight, failed)
			if !ok {
				return
			}
			buf := make([]byte, min(32<<10, room))
			n, err := src.Read(buf)
			if n > 0 {
				w.held.Add(int64(n))
				select {
				case queue <- chunk{buf[:n], time.Now().Add(r.delay())}:
				case <-failed:
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				abort(src)
				abort(dst)
				return
			}
		}
	})
	if err := r.drain(dst, queue, count, w); err != nil {
		abort(src)
		abort(dst)
	}
	close(failed)
	reader.Wait()
}

func (r *Relay) drain(dst net.Conn, queue <-chan chunk, count *int64, w *window) error {
	free := time.Now() // when a link of that rate is done with what it was given
	for c := range queue {
		if !r.sleepUntil(c.due) || !r.passable() {
			return net.ErrClosed
		}
		if rate := r.rate(); rate > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(len(c.data)) * time.Second / time.Duration(rate))
			if !r.sleepUntil(free) || !r.passable() {
				return net.ErrClosed
			}
		}
		if _, err := dst.Write(c.data); err != nil {
			return err
		}
		r.mu.Lock()
		*count += int64(len(c.data))
		r.mu.Unlock()
		time.AfterFunc(r.delay(), func() { w.free(len(c.data)) })
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// window is what of one direction of a connection is in flight.
type window struct {
	held  atomic.Int64
	freed chan struct{} // has something when held fell
}

// room waits until something may be taken, and says how much; not ok means that
// nothing will be delivered any more.
func (w *window) room(limit func() int64, failed <-chan struct{}) (n int64, ok bool) {
	for {
		most := limit()
		if most == 0 {
			return math.MaxInt64, true
		}
		if n := most - w.held.Load(); n > 0 {
			return n, true
		}
		select {
		case <-w.freed: // it is full: there is something that will be
		case <-failed:
			return 0, false
		}
	}
}

func (w *window) free(n int) {
	w.held.Add(-int64(n))
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

func (r *Relay) inFlight() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.InFlight
}

func (r *Relay) delay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.state.Delay) * time.Millisecond
}

func (r *Relay) rate() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Rate
}

func (r *Relay) sleepUntil(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// abort closes c with a reset, as a lost connection looks sooner or later.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
