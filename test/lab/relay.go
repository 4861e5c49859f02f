//go:build linux

package lab

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/test/wan"
)

// Relay joins connections to a server. A test can make it cut, stall, slow and
// delay them as networks do. It stands for the editor's connection.
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

// RelayState describes a relay and its traffic.
type RelayState struct {
	// Mode is "open", "cut" (connections are reset, new ones too) or "stall"
	// (connections stay and nothing moves).
	Mode string `json:"mode"`
	// Rate limits each direction of each connection, in bytes per second; 0 is no limit.
	Rate int64 `json:"rate"`
	// Delay is added in each direction, in milliseconds.
	Delay int64 `json:"delay"`
	// InFlight bounds the bytes of each direction of each connection that the relay
	// has taken and whose delivery the sender does not know of yet, as the window
	// of a forwarded port's channel does; 0 is no bound.
	InFlight int64 `json:"inFlight"`
	// Connections counts the open connections, Accepted all connections so far.
	Connections int `json:"connections"`
	Accepted    int `json:"accepted"`
	// Up and Down count the bytes delivered to the server and from it.
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
}

// NewRelay serves ln until Close, which closes ln.
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

// State returns the present state.
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

// Slow limits each direction of each connection to rate bytes per second and
// delays it. Zero removes a limit.
func (r *Relay) Slow(rate int64, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Rate, r.state.Delay = max(rate, 0), max(delay, 0).Milliseconds()
}

// Bound sets InFlight of the state, also for open connections.
func (r *Relay) Bound(inFlight int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.InFlight = max(inFlight, 0)
}

// Resume ends Cut and Stall. A stalled connection continues without loss.
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
		wan.Reset(c)
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
		wan.Reset(client)
		return
	}
	server, err := r.dial(r.ctx)
	if err != nil {
		wan.Reset(client)
		return
	}
	r.mu.Lock()
	if r.state.Mode == "cut" || r.ctx.Err() != nil {
		r.mu.Unlock()
		wan.Reset(client)
		wan.Reset(server)
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

// passable waits while the relay is stalled, and reports whether bytes may pass.
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

// pump copies one direction and counts the bytes.
func (r *Relay) pump(dst, src net.Conn, count *int64) {
	p := wan.Pump{
		Path: r.path,
		Open: r.passable,
		Moved: func(n int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			*count += int64(n)
		},
		Done: r.ctx.Done(),
	}
	_ = p.Copy(dst, src) // it has reset both
}

func (r *Relay) path() wan.Path {
	r.mu.Lock()
	defer r.mu.Unlock()
	return wan.Path{Delay: time.Duration(r.state.Delay) * time.Millisecond, Rate: r.state.Rate, InFlight: int(r.state.InFlight)}
}
