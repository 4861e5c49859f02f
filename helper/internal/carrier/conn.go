// Package carrier is the one byte stream between the two helpers of a session. It
// runs over links that may break, be replaced, and work side by side. It is a
// net.Conn that lives as long as the session: if one link replaces another, no byte
// is lost, repeated or reordered. Every link starts with a proof of the session's
// secret. The format and the rules are in spec.md. The carrier does not know what it
// carries.
package carrier

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
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

const (
	// DefaultWindow is how much one side may have sent that the other has not
	// read, in bytes: 16 MiB fill a link of 1.3 Gbit/s at 100 ms. The buffers take
	// memory only for bytes that are there.
	DefaultWindow = 24 << 20
	// DefaultResumeLimit is how long a session waits for a link.
	DefaultResumeLimit = 10 * time.Minute
	// MaxDirect is how many direct links a session uses at once.
	MaxDirect = 8
)

// Options describes a session to its carrier. Role, Session and Secret are required.
type Options struct {
	Role        Role
	Session     SessionID
	Secret      Secret
	Window      int           // bytes; 0 means DefaultWindow
	ResumeLimit time.Duration // how long to wait without a link; 0 means DefaultResumeLimit
	Changed     func()        // called after a link was added, lost or stalled; must not block; may be nil
	Budget      *netx.Budget  // of memory, shared with other sessions; nil means netx.Process
	Log         zerolog.Logger
}

// ErrNoLink says that a carrier had no link for its ResumeLimit.
var ErrNoLink = errors.New("there was no link")

// ClosedError says that the other side ended the carrier, and why.
type ClosedError struct{ Reason string }

func (e *ClosedError) Error() string {
	if e.Reason == "" {
		return "closed by the other side"
	}
	return "closed by the other side: " + e.Reason
}

// Is makes a ClosedError match io.EOF, because the stream ends with the peer.
func (e *ClosedError) Is(target error) bool { return target == io.EOF }

// Conn is the carrier's end on one side.
type Conn struct {
	o     Options
	epoch time.Time

	mu       sync.Mutex
	readable sync.Cond // there is something to read, or the end
	writable sync.Cond // there is room to write, or the end
	e        engine
	links    []*attached
	memory   *netx.Share
	account  *netx.Account
	held     int           // as the account knows it
	moving   chan struct{} // closed while a link moves

	watching bool
	watch    *time.Timer
	expiry   *time.Timer // of a session without a link
	lostAt   time.Time   // when the last link went; zero with a link
	lostWhy  error

	err  error // why the carrier ended
	done chan struct{}
	told chan struct{} // closed when the peer has been told of the end; nil before Close, and if this side did not end the carrier
	wg   sync.WaitGroup
}

var _ net.Conn = (*Conn)(nil)

// New returns a carrier without a link. The caller has to close it.
func New(o Options) *Conn {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.ResumeLimit == 0 {
		o.ResumeLimit = DefaultResumeLimit
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Budget == nil {
		o.Budget = netx.Process
	}
	c := &Conn{o: o, epoch: time.Now(), done: make(chan struct{}), lostAt: time.Now(), moving: make(chan struct{})}
	c.memory = o.Budget.Share(c.shed)
	c.account = c.memory.Open(nil)
	c.e.fits = c.account.Fits
	c.readable.L, c.writable.L = &c.mu, &c.mu
	c.e.window = o.Window
	_, _ = rand.Read(c.e.instance[:])
	c.watch = time.AfterFunc(time.Hour, c.look)
	c.watch.Stop()
	c.expiry = time.AfterFunc(o.ResumeLimit, c.expire)
	return c
}

// now is the engine's time; it is never 0.
func (c *Conn) now() instant { return instant(time.Since(c.epoch)) + 1 }

// Done is closed when the carrier has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the carrier ended; nil before that. It is a ClosedError if the peer
// ended the carrier.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.e.readable() == 0 {
		if c.err != nil {
			return 0, c.endError()
		}
		c.readable.Wait()
	}
	told := c.e.told
	n := c.e.read(p, c.now())
	c.state()
	if c.e.told != told {
		c.kickAll()
	}
	return n, nil
}

// Write implements net.Conn. It blocks while the links are busy or there is no link.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for {
		if c.err != nil {
			return total, c.endError()
		}
		n := c.e.write(p)
		total += n
		if p = p[n:]; n > 0 {
			c.state()
			for _, l := range c.links {
				if c.e.usable(&l.path) {
					l.kick()
				}
			}
		}
		if len(p) == 0 {
			return total, nil
		}
		c.writable.Wait()
	}
}

// Close ends the carrier and tells the peer.
func (c *Conn) Close() error { return c.CloseWithReason("") }

// endedError says why this side ended the carrier.
type endedError struct{ reason string }

func (e *endedError) Error() string { return e.reason }

// Is makes it match net.ErrClosed, as an end without a reason does.
func (e *endedError) Is(target error) bool { return target == net.ErrClosed }

// CloseWithReason ends the carrier and tells the peer why, if a link is there. Err
// gives the reason too. All goroutines have ended when it returns.
func (c *Conn) CloseWithReason(reason string) error {
	c.mu.Lock()
	first := c.err == nil
	if first {
		if reason == "" {
			c.finish(net.ErrClosed)
		} else {
			c.finish(&endedError{reason})
		}
		c.told = make(chan struct{})
	}
	told := c.told
	links := append([]*attached(nil), c.links...)
	c.mu.Unlock()
	if first {
		// If a link still moves, the peer learns the reason. Otherwise it only sees
		// that its links are lost.
		var sent sync.WaitGroup
		for _, a := range links {
			sent.Go(func() {
				<-a.written
				_ = a.WriteFrame(appendClose(nil, reason))
			})
		}
		go func() {
			sent.Wait()
			close(told)
		}()
	}
	if told != nil {
		select {
		case <-told:
		case <-time.After(time.Second):
		}
		defer func() { <-told }()
	}
	for _, a := range links {
		_ = a.Link.Close()
	}
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discard()
	c.account.Close()
	return nil
}

// discard gives the memory of a carrier back that has ended. Called with mu held.
func (c *Conn) discard() {
	c.e.in.start = c.e.received // nothing can be read any more
	c.e.in.free()
	c.e.out.free()
	c.state()
}

// state tells the account what the buffers hold. Called with mu held.
func (c *Conn) state() {
	held := c.e.in.held + c.e.out.held
	if held != c.held {
		c.account.Hold(held - c.held)
		c.held = held
	}
}

// shed ends the session, because it holds more than any other that shares the budget.
func (c *Conn) shed() {
	c.mu.Lock()
	c.finish(errors.New("it took most of the memory that this helper has for all sessions"))
	c.discard()
	c.mu.Unlock()
	c.o.Changed()
}

// Memory is the session's part of the budget, for what runs over the carrier. If it
// has to free memory and cannot, the carrier ends.
func (c *Conn) Memory() *netx.Share { return c.memory }

// Moving returns a channel that is closed while there is a link that is not stalled.
// If there is none now, the channel is closed once there is one.
func (c *Conn) Moving() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moving
}

// updateMoving updates moving after a change of the links. Called with mu held.
func (c *Conn) updateMoving() {
	moves := slices.ContainsFunc(c.links, func(a *attached) bool { return !a.stalled })
	select {
	case <-c.moving:
		if !moves {
			c.moving = make(chan struct{})
		}
	default:
		if moves {
			close(c.moving)
		}
	}
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
	c.watch.Stop()
	c.expiry.Stop()
	close(c.done)
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.kickAll()
}
