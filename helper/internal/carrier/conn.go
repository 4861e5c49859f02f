// Package carrier is the one byte stream between the two helpers of a session,
// laid over links that may break. It is a net.Conn with a window of its own, so
// that a link without back-pressure is never flooded, and a proof of the
// session's secret on every link. The format is in spec.md. It does not know
// what it carries.
package carrier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Role is the side that a helper is on.
type Role byte

// The roles. The numbers are on the wire.
const (
	Gateway Role = 1
	Capture Role = 2
)

// String returns "gateway" or "capture".
func (r Role) String() string {
	switch r {
	case Gateway:
		return "gateway"
	case Capture:
		return "capture"
	default:
		return "unknown role " + strconv.Itoa(int(r))
	}
}

func (r Role) other() Role { return Gateway + Capture - r }

// DefaultWindow is the size of the send and of the receive buffer, in bytes.
const DefaultWindow = 2 << 20

const (
	pingInterval = 5 * time.Second
	// StallAfter is how long a peer may say nothing before the link counts as stalled.
	StallAfter = 15 * time.Second
	ackDelay   = 10 * time.Millisecond
)

// Options describes a session to its carrier. Role, Session and Secret are required.
type Options struct {
	Role    Role
	Session SessionID
	Secret  Secret
	Window  int // bytes buffered in each direction; 0 means DefaultWindow
	Log     zerolog.Logger
}

// ClosedError is the end of a carrier that the other side ended, with its reason.
type ClosedError struct{ Reason string }

func (e *ClosedError) Error() string {
	if e.Reason == "" {
		return "closed by the other side"
	}
	return "closed by the other side: " + e.Reason
}

// Is makes a ClosedError match io.EOF: the peer's end is the end of the stream.
func (e *ClosedError) Is(target error) bool { return target == io.EOF }

// Conn is the carrier's end on one side.
type Conn struct {
	o Options

	mu       sync.Mutex
	readable sync.Cond // there is something to read, or the end
	writable sync.Cond // there is room in out, or the end
	wake     chan struct{}

	out      ring   // written and not acknowledged
	sent     uint64 // offset of the next byte to send
	allowed  uint64 // offset up to which the peer lets us send
	in       ring   // received and not read
	received uint64 // offset of the next byte wanted
	told     ackState
	ackAt    time.Time // when to acknowledge without data to go along; zero: nothing to
	pongs    []uint64

	link    Link
	written chan struct{} // closed when nobody writes to link any more
	heard   time.Time
	rtt     time.Duration
	pingAt  time.Time
	pinged  time.Time // when the ping in flight was sent; zero: none
	pingSeq uint64

	err  error // why the carrier ended
	done chan struct{}
	wg   sync.WaitGroup
}

var _ net.Conn = (*Conn)(nil)

// New returns a carrier without a link.
func New(o Options) *Conn {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	c := &Conn{o: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.readable.L, c.writable.L = &c.mu, &c.mu
	c.out.init(o.Window)
	c.in.init(o.Window)
	return c
}

// Attach greets the peer over l, whose owner c becomes, and then carries c's
// bytes over it. It returns once l is in use, or why it cannot be. The loss of
// the link ends the carrier.
func (c *Conn) Attach(ctx context.Context, l Link) error {
	peer, err := c.greet(ctx, l)
	if err != nil {
		return fmt.Errorf("attach %s link: %w", l.Kind(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.err
	switch {
	case err != nil:
	case c.link != nil:
		err = errors.New("there is a link already")
	case peer.received != c.out.start || peer.limit < peer.received:
		err = errors.New("the other side has lost the session's state")
	}
	if err != nil {
		_ = l.Close()
		return fmt.Errorf("attach %s link: %w", l.Kind(), err)
	}
	c.link, c.heard, c.allowed = l, time.Now(), peer.limit
	c.told = ackState{c.received, c.limit()}
	c.pingAt = time.Now() // the first one measures the round trip
	c.wg.Go(func() { c.lost(c.readLoop(l)) })
	written := make(chan struct{})
	c.written = written
	c.wg.Go(func() {
		defer close(written)
		c.lost(c.writeLoop(l))
	})
	return nil
}

// LinkState is what is known of the link in use.
type LinkState struct {
	Kind    string        // "" without a link
	RTT     time.Duration // 0 until measured
	Stalled bool          // the peer has said nothing for StallAfter
}

// Link tells of the link in use.
func (c *Conn) Link() LinkState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.err != nil {
		return LinkState{}
	}
	return LinkState{Kind: c.link.Kind(), RTT: c.rtt, Stalled: time.Since(c.heard) > StallAfter}
}

// Done is closed when the carrier has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the carrier ended; nil before that. A ClosedError is the peer's word.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.in.len() == 0 && c.err == nil {
		c.readable.Wait()
	}
	if c.in.len() == 0 {
		return 0, c.endError()
	}
	n := c.in.read(p)
	// The peer must hear of the room before it runs out.
	if c.limit()-c.told.limit >= uint64(c.o.Window/4) {
		c.ackAt = time.Now()
		c.kick()
	}
	return n, nil
}

// Write implements net.Conn. It blocks while the window is full.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for {
		if c.err != nil {
			return total, c.endError()
		}
		n := c.out.write(p)
		total += n
		if p = p[n:]; n > 0 {
			c.kick()
		}
		if len(p) == 0 {
			return total, nil
		}
		c.writable.Wait()
	}
}

// Close ends the carrier and tells the peer.
func (c *Conn) Close() error { return c.CloseWithReason("") }

// CloseWithReason ends the carrier and tells the peer why. All goroutines have
// ended when it returns.
func (c *Conn) CloseWithReason(reason string) error {
	c.mu.Lock()
	l, written, first := c.link, c.written, c.err == nil
	if first {
		c.finish(net.ErrClosed)
	}
	c.mu.Unlock()
	if first && l != nil {
		// The peer learns the reason if the link still moves, and the loss of
		// the link if not.
		sent := make(chan struct{})
		c.wg.Go(func() {
			defer close(sent)
			<-written
			_ = l.WriteFrame(appendClose(nil, reason))
		})
		select {
		case <-sent:
		case <-time.After(time.Second):
		}
	}
	if l != nil {
		_ = l.Close()
	}
	c.wg.Wait()
	return nil
}

// LocalAddr and RemoteAddr return placeholders.
func (c *Conn) LocalAddr() net.Addr { return addr(c.o.Role) }

// RemoteAddr returns a placeholder.
func (c *Conn) RemoteAddr() net.Addr { return addr(c.o.Role.other()) }

type addr Role

func (addr) Network() string  { return "carrier" }
func (a addr) String() string { return Role(a).String() }

// SetDeadline fails: a carrier waits as long as its session lives.
func (c *Conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline fails, as SetDeadline does.
func (c *Conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline fails, as SetDeadline does.
func (c *Conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// limit is the offset up to which the peer may send: what was read plus the window.
func (c *Conn) limit() uint64 { return c.in.start + uint64(c.o.Window) }

func (c *Conn) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Conn) endError() error {
	if errors.Is(c.err, io.EOF) {
		return io.EOF
	}
	return c.err
}

// finish records why the carrier ends. Called with mu held.
func (c *Conn) finish(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.kick()
}

// lost ends the carrier with its link.
func (c *Conn) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		if _, closed := errors.AsType[*ClosedError](err); !closed {
			err = fmt.Errorf("%s link lost: %w", c.link.Kind(), err)
		}
		c.finish(err)
		_ = c.link.Close()
	}
}
