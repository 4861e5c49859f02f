// Package carrier is the one byte stream between the two helpers of a session,
// laid over links that may break, be replaced, and work side by side. It is a
// net.Conn that lives as long as the session: no byte is lost, repeated or
// reordered when a link goes and another comes. Every link starts with a proof
// of the session's secret. The format and the rules are in spec.md. It does not
// know what it carries.
package carrier

import (
	"context"
	"crypto/rand"
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

const (
	// DefaultWindow is how much one side may have sent that the other has not
	// read, in bytes: 16 MiB fill a link of 1.3 Gbit/s at 100 ms. Memory is taken
	// for what is there only.
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
	Changed     func()        // called when a link has come, gone or stalled; must not block; may be nil
	Log         zerolog.Logger
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
	o     Options
	epoch time.Time

	mu       sync.Mutex
	readable sync.Cond // there is something to read, or the end
	writable sync.Cond // there is room to write, or the end
	e        engine
	links    []*attached

	watching bool
	watch    *time.Timer
	expiry   *time.Timer // of a session without a link
	lostAt   time.Time   // when the last link went; zero with a link
	lostWhy  error

	err  error // why the carrier ended
	done chan struct{}
	wg   sync.WaitGroup
}

// attached is a link in use.
type attached struct {
	Link
	path
	wake    chan struct{}
	written chan struct{} // closed when nobody writes to the link any more
	gone    bool          // out of use: what still comes over it is ignored
}

func (a *attached) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

var _ net.Conn = (*Conn)(nil)

// New returns a carrier without a link. It has to be closed.
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
	c := &Conn{o: o, epoch: time.Now(), done: make(chan struct{}), lostAt: time.Now()}
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

// Attach greets the peer over l, whose owner c becomes, and takes it into use.
// It returns once l is in use, or why it cannot be. A link of a kind other than
// direct takes the place of the one of its kind that was there. The loss of a
// link is no end: the carrier waits for another until Options.ResumeLimit.
func (c *Conn) Attach(ctx context.Context, l Link) error {
	h, err := c.greet(ctx, l)
	if err != nil {
		return fmt.Errorf("attach %s link: %w", l.Kind(), err)
	}
	a := &attached{Link: l, path: path{kind: l.Kind(), shape: l.Shape()}, wake: make(chan struct{}, 1), written: make(chan struct{})}
	c.mu.Lock()
	err = c.admit(a, h)
	c.mu.Unlock()
	if err != nil {
		_ = l.WriteFrame(appendClose(nil, err.Error()))
		_ = l.Close()
		return fmt.Errorf("attach %s link: %w", l.Kind(), err)
	}
	c.o.Changed()
	return nil
}

func (c *Conn) admit(a *attached, h hello) error {
	if c.err != nil {
		return c.err
	}
	same := 0
	for i := len(c.links) - 1; i >= 0; i-- {
		old := c.links[i]
		if old.kind != a.kind {
			continue
		}
		if same++; a.kind != KindDirect {
			c.remove(old)
		} else if same == MaxDirect {
			return fmt.Errorf("there are %d direct links already", MaxDirect)
		}
	}
	if err := c.e.attach(&a.path, h, c.now()); err != nil {
		if errors.Is(err, errRestarted) {
			c.finish(err)
		}
		return err
	}
	c.links = append(c.links, a)
	c.lostAt, c.lostWhy = time.Time{}, nil
	c.expiry.Stop()
	c.wg.Go(func() { c.lost(a, c.readLoop(a)) })
	c.wg.Go(func() {
		err := c.writeLoop(a)
		close(a.written)
		c.lost(a, err)
	})
	c.writable.Broadcast()
	c.kickAll()
	return nil
}

// remove takes a link out of use and closes it.
func (c *Conn) remove(a *attached) bool {
	for i, l := range c.links {
		if l == a {
			c.links = append(c.links[:i], c.links[i+1:]...)
			c.e.detach(&a.path, c.now())
			a.gone = true
			a.kick()
			_ = a.Link.Close()
			c.kickAll()
			return true
		}
	}
	return false
}

// lost notes that a link has broken, or that the peer has ended the session.
func (c *Conn) lost(a *attached, err error) {
	c.mu.Lock()
	if c.err != nil || !c.remove(a) {
		c.mu.Unlock()
		return
	}
	if _, closed := errors.AsType[*ClosedError](err); closed {
		c.finish(err)
	} else {
		c.o.Log.Info().Err(err).Str("link", a.kind).Int("left", len(c.links)).Msg("link lost")
		if len(c.links) == 0 {
			c.lostAt, c.lostWhy = time.Now(), fmt.Errorf("%s link lost: %w", a.kind, err)
			c.expiry.Reset(c.o.ResumeLimit)
		}
	}
	c.mu.Unlock()
	c.o.Changed()
}

// expire ends a session that was without a link for too long.
func (c *Conn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lostAt.IsZero() {
		return
	}
	err := fmt.Errorf("there was no link for %v", c.o.ResumeLimit)
	if c.lostWhy != nil {
		err = fmt.Errorf("%w: %w", err, c.lostWhy)
	}
	c.finish(err)
}

// look finds links that stall while others might carry what they have.
func (c *Conn) look() {
	c.mu.Lock()
	next, changed := c.e.watch(c.now())
	c.watching = next != never && c.err == nil
	if c.watching {
		c.watch.Reset(next.sub(c.now()))
	}
	if changed {
		c.kickAll()
	}
	c.mu.Unlock()
	if changed {
		c.o.Changed()
	}
}

func (c *Conn) kickAll() {
	for _, l := range c.links {
		l.kick()
	}
}

func (c *Conn) readLoop(a *attached) error {
	for {
		b, err := a.ReadFrame()
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return errors.New("empty frame")
		}
		c.mu.Lock()
		if a.gone {
			c.mu.Unlock()
			return net.ErrClosed
		}
		readable := c.e.readable()
		err = c.e.receive(&a.path, b, c.now())
		if readable == 0 && c.e.readable() > 0 {
			c.readable.Signal()
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
		a.kick()
	}
}

// writeLoop sends what there is to send until the carrier ends or the link breaks.
func (c *Conn) writeLoop(a *attached) error {
	frame := make([]byte, 0, a.shape.MaxFrame)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.err != nil || a.gone {
			c.mu.Unlock()
			return net.ErrClosed
		}
		now := c.now()
		b, due := c.e.next(&a.path, frame[:0], now)
		if len(b) > 0 {
			c.sent(a)
		}
		c.mu.Unlock()
		if len(b) > 0 {
			if err := a.WriteFrame(b); err != nil {
				return err
			}
			continue
		}
		timer.Reset(due.sub(now))
		select {
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// sent follows up on a frame that goes out over a.
func (c *Conn) sent(a *attached) {
	if !c.watching && a.inFlight() > 0 {
		c.watching = true
		c.watch.Reset(time.Second)
	}
	if c.e.room() > 0 {
		c.writable.Signal()
	}
	if len(c.links) > 1 && (c.e.fresh < c.e.written || len(c.e.again) > 0) {
		for _, l := range c.links {
			if l != a && c.e.usable(&l.path) {
				l.kick()
			}
		}
	}
}

// LinkState is what is known of the links of a session.
type LinkState struct {
	Kind    string        // of those that carry data; "" without a link
	Links   int           // how many of them there are
	RTT     time.Duration // 0 until measured
	Rate    float64       // measured, of all that carry data, in bytes a second
	Stalled bool          // the peer has said nothing for StallAfter

	Lost   time.Time // when the last link went, or the session began; zero with a link
	Reason error     // why it went
}

// Link tells of the links in use.
func (c *Conn) Link() LinkState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return LinkState{}
	}
	s := LinkState{Lost: c.lostAt, Reason: c.lostWhy, Stalled: true}
	now := c.now()
	for _, l := range c.links {
		if !c.e.usable(&l.path) {
			continue
		}
		s.Kind = l.kind
		s.Links++
		s.Rate += l.rate.bandwidth()
		s.Stalled = s.Stalled && now.sub(l.heard) > StallAfter
		if s.RTT == 0 || l.rtt > 0 && l.rtt < s.RTT {
			s.RTT = l.rtt
		}
	}
	s.Stalled = s.Stalled && s.Links > 0
	return s
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
	for c.e.readable() == 0 {
		if c.err != nil {
			return 0, c.endError()
		}
		c.readable.Wait()
	}
	told := c.e.told
	n := c.e.read(p, c.now())
	if c.e.told != told {
		c.kickAll()
	}
	return n, nil
}

// Write implements net.Conn. It blocks while the links are busy, or there is none.
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

// CloseWithReason ends the carrier and tells the peer why, if a link is there.
// All goroutines have ended when it returns.
func (c *Conn) CloseWithReason(reason string) error {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.finish(net.ErrClosed)
	}
	links := append([]*attached(nil), c.links...)
	c.mu.Unlock()
	if first {
		// The peer learns the reason if a link still moves, and the loss of
		// the links if not.
		var sent sync.WaitGroup
		told := make(chan struct{})
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
