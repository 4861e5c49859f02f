// Package turns shares bounded work among resources, and within each among the programs
// that ask for it, so that none can keep the others waiting. It knows nothing of the
// work.
package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrBusy reports that a turn did not come in time.
var ErrBusy = errors.New("too much is under way")

// Limits are the bounds of a Turns.
type Limits struct {
	Places int        // turns under way at a time
	Rate   rate.Limit // turns that begin per second
	Burst  int        // turns that may begin at once
	// Patience is how long a caller waits for its turn.
	Patience time.Duration
}

// part bounds the places of one key: at most part times as many as are still free.
// One key alone gets three quarters of the places, two keys get three sevenths each. In
// the same way it bounds the places of one caller in those of its key.
const part = 3

// Key says whom a turn is for.
type Key struct {
	Resource string
	// Caller is who asks within the resource, such as a program. A caller can keep
	// only itself waiting, unless it takes on many names.
	Caller string
}

// Turns hands out places to callers, who wait in one queue for each Key. The
// resources get places and the rate's allowance by turns, and so do the callers of
// one resource. A resource that has no place always gets one, even if all Places are
// taken: at most Places and one for each other resource are in use.
type Turns struct {
	limits Limits
	rate   *rate.Limiter

	mu    sync.Mutex
	used  int
	keys  map[string]*share // resources with a place or a waiter
	queue []*share          // those with waiters, the one whose turn is next first
	timer *time.Timer       // runs next when the rate allows it; nil until it is needed
}

// share is what one resource has and waits for.
type share struct {
	key     string
	used    int
	callers map[string]*caller // those with a place or a waiter
	queue   []*caller          // those with waiters, the one whose turn is next first
}

// caller is what one caller of a resource has and waits for.
type caller struct {
	of      *share
	name    string
	used    int
	waiting []*waiter
}

type waiter struct {
	ready chan struct{} // closed when the turn has come
}

// New returns a Turns. Limits have no defaults.
func New(l Limits) *Turns {
	return &Turns{limits: l, rate: rate.NewLimiter(l.Rate, max(1, l.Burst)), keys: make(map[string]*share)}
}

// Wait waits until key may begin. Whoever calls Wait calls release once when it has
// ended. The error is ErrBusy, or the cause of ctx.
func (t *Turns) Wait(ctx context.Context, key Key) (release func(), err error) {
	w := &waiter{ready: make(chan struct{})}
	t.mu.Lock()
	c := t.caller(key)
	if c.waiting = append(c.waiting, w); len(c.waiting) == 1 {
		if c.of.queue = append(c.of.queue, c); len(c.of.queue) == 1 {
			t.queue = append(t.queue, c.of)
		}
	}
	t.next()
	t.mu.Unlock()
	release = func() { t.release(c) }
	select { // most turns come at once
	case <-w.ready:
		return release, nil
	default:
	}
	patience := time.NewTimer(t.limits.Patience)
	defer patience.Stop()
	select {
	case <-w.ready:
		return release, nil
	case <-patience.C:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if !t.leave(c, w) {
		release() // the turn came at the same moment
	}
	return nil, err
}

// InUse returns the number of turns under way.
func (t *Turns) InUse() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// caller returns what key has, which it begins if there is nothing yet. Whoever calls it
// holds t.mu.
func (t *Turns) caller(key Key) *caller {
	s := t.keys[key.Resource]
	if s == nil {
		s = &share{key: key.Resource, callers: make(map[string]*caller)}
		t.keys[key.Resource] = s
	}
	c := s.callers[key.Caller]
	if c == nil {
		c = &caller{of: s, name: key.Caller}
		s.callers[key.Caller] = c
	}
	return c
}

func (t *Turns) release(c *caller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used--
	c.of.used--
	c.used--
	t.forget(c)
	t.next()
}

// leave takes a waiter out of its queue; false if its turn has come.
func (t *Turns) leave(c *caller, w *waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(c.waiting, w)
	if i < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	if len(c.waiting) == 0 {
		c.of.queue = without(c.of.queue, c)
		if len(c.of.queue) == 0 {
			t.queue = without(t.queue, c.of)
		}
		t.forget(c)
	}
	return true
}

// without returns queue without x, if x is in it.
func without[T comparable](queue []T, x T) []T {
	if i := slices.Index(queue, x); i >= 0 {
		return slices.Delete(queue, i, i+1)
	}
	return queue
}

func (t *Turns) forget(c *caller) {
	if c.used == 0 && len(c.waiting) == 0 {
		delete(c.of.callers, c.name)
	}
	if len(c.of.callers) == 0 {
		delete(t.keys, c.of.key)
	}
}

// next lets as many waiters begin as the limits allow. Whoever calls it holds t.mu.
func (t *Turns) next() {
	for {
		c := t.ready()
		if c == nil {
			return
		}
		if !t.rate.Allow() {
			t.again()
			return
		}
		w, s := c.waiting[0], c.of
		c.waiting = c.waiting[1:]
		// Both go to the ends of their queues, or out of them.
		if s.queue = without(s.queue, c); len(c.waiting) > 0 {
			s.queue = append(s.queue, c)
		}
		if t.queue = without(t.queue, s); len(s.queue) > 0 {
			t.queue = append(t.queue, s)
		}
		t.used++
		s.used++
		c.used++
		close(w.ready)
	}
}

// ready returns the first caller in the queues that may have one more place.
func (t *Turns) ready() *caller {
	for _, s := range t.queue {
		if s.used > 0 && s.used >= part*(t.limits.Places-t.used) {
			continue
		}
		// So many more places can the resource have, if no other takes any.
		free := (part*(t.limits.Places-t.used) - s.used) / (part + 1)
		for _, c := range s.queue {
			if c.used == 0 || c.used < part*free {
				return c
			}
		}
	}
	return nil
}

// again calls next when the rate allows the next turn.
func (t *Turns) again() {
	r := t.rate.Reserve()
	d := r.Delay()
	r.Cancel()
	if t.timer == nil {
		t.timer = time.AfterFunc(d, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.next()
		})
		return
	}
	t.timer.Reset(d)
}
