package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// attached is a link in use.
type attached struct {
	Link
	path
	wake    chan struct{}
	written chan struct{} // closed when nobody writes to the link any more
	gone    bool          // out of use: frames that still come over it are ignored
}

func (a *attached) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Attach greets the peer over l and takes l into use. The carrier becomes the owner
// of l. Attach returns once l is in use, or says why it cannot be. A link that is not
// direct replaces the earlier one of its kind. If the last link is lost, the carrier
// waits for another until Options.ResumeLimit.
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
	for _, old := range slices.Backward(c.links) {
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
	c.updateMoving()
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

// Trim closes the newest direct links until there are n.
func (c *Conn) Trim(n int) {
	c.mu.Lock()
	left := 0
	for _, l := range slices.Clone(c.links) {
		if l.kind != KindDirect {
			continue
		}
		if left++; left > n {
			c.remove(l)
		}
	}
	c.mu.Unlock()
	c.o.Changed()
}

// remove takes a link out of use and closes it.
func (c *Conn) remove(a *attached) bool {
	for i, l := range c.links {
		if l == a {
			c.links = append(c.links[:i], c.links[i+1:]...)
			c.e.detach(&a.path, c.now())
			a.gone = true
			c.updateMoving()
			a.kick()
			_ = a.Link.Close()
			c.kickAll()
			return true
		}
	}
	return false
}

// lost handles a link that has broken, or the peer's end of the session.
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

// expire ends a session that had no link for too long.
func (c *Conn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lostAt.IsZero() {
		return
	}
	err := fmt.Errorf("%w for %v", ErrNoLink, c.o.ResumeLimit)
	if c.lostWhy != nil {
		err = fmt.Errorf("%w: %w", err, c.lostWhy)
	}
	c.finish(err)
}

// look finds links that stall, so that others carry their bytes.
func (c *Conn) look() {
	c.mu.Lock()
	next, changed := c.e.watch(c.now())
	for _, a := range slices.Clone(c.links) {
		// A direct link that hangs is never replaced. The others carry its bytes.
		if a.kind == KindDirect && a.stalled && len(c.links) > 1 && c.now().sub(a.heard) > giveUpAfter {
			c.o.Log.Info().Str("link", a.kind).Msg("link given up: nothing came over it")
			changed = c.remove(a) || changed
		}
	}
	c.watching = next != never && c.err == nil
	if c.watching {
		c.watch.Reset(next.sub(c.now()))
	}
	if changed {
		c.updateMoving()
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
		if a.gone || c.err != nil {
			c.mu.Unlock()
			return net.ErrClosed
		}
		readable, stalled := c.e.readable(), a.stalled
		err = c.e.receive(&a.path, b, c.now())
		c.state()
		if stalled {
			c.updateMoving()
		}
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

// Traffic is how many bytes the session has carried so far: those that the peer has
// acknowledged, and those that it has sent.
func (c *Conn) Traffic() (sent, received uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.e.out.start, c.e.received
}

// LinkState is what is known of the links of a session.
type LinkState struct {
	Kind    string        // of the links that carry data; "" without a link
	Links   int           // how many of them there are
	RTT     time.Duration // 0 until measured
	Rate    float64       // measured, of all links that carry data, in bytes per second
	Silent  bool          // the peer has said nothing for SilentAfter over the links that carry data
	Unheard time.Duration // since the peer has said something, over any link

	Lost   time.Time // when the last link went, or the session began; zero with a link
	Reason error     // why it went
}

// RoundTrip is the shortest recent time in which the peer acknowledged something
// over the links that carry data; 0 if that is not known.
func (c *Conn) RoundTrip() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := time.Duration(0)
	for _, l := range c.links {
		if t := l.rate.roundTrip(); t > 0 && c.e.usable(&l.path) && (least == 0 || t < least) {
			least = t
		}
	}
	return least
}

// Brief is how many bytes the links carry in about 1 ms; 0 if that is not known.
func (c *Conn) Brief() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.e.brief()
}

// Link describes the links in use.
func (c *Conn) Link() LinkState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return LinkState{}
	}
	s := LinkState{Lost: c.lostAt, Reason: c.lostWhy, Silent: true}
	now := c.now()
	if s.Unheard = time.Since(c.lostAt); c.lostAt.IsZero() {
		s.Unheard = now.sub(0)
	}
	for _, l := range c.links {
		s.Unheard = min(s.Unheard, now.sub(l.heard))
	}
	for _, l := range c.links {
		if !c.e.usable(&l.path) {
			continue
		}
		s.Kind = l.kind
		s.Links++
		s.Rate += l.rate.bandwidth()
		s.Silent = s.Silent && now.sub(l.heard) > SilentAfter
		if s.RTT == 0 || l.rtt > 0 && l.rtt < s.RTT {
			s.RTT = l.rtt
		}
	}
	s.Silent = s.Silent && s.Links > 0
	return s
}
