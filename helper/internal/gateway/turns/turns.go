// Package turns shares bounded work among resources, so that one resource cannot
// keep the others waiting. It knows nothing of the work.
package turns

import (
	"context"
	"errors"
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
// One key alone gets three quarters of the places, two keys get three sevenths each.
const part = 3

// Turns hands out places to callers, who wait in one queue for each key. The
// queues get places and the rate's allowance by turns. A key that has no place
// always gets one, even if all Places are taken: at most Places and one for each
// other key are in use.
type Turns struct {
	limits Limits
	rate   *rate.Limiter

	mu    sync.Mutex
	used  int
	keys  map[string]*share // those with a place or a waiter
	queue []*share          // those with waiters, the one whose turn is next first
	timer *time.Timer       // runs next when the rate allows it; nil until it is needed
}

// share is what one key has and waits for.
type share struct {
	key     string
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

// Wait waits until key may begin. The caller calls release once when it has ended.
// The error is ErrBusy, or the cause of ctx.
func (t *Turns) Wait(ctx context.Context, key string) (release func(), err error) {
	w := &waiter{ready: make(chan struct{})}
	t.mu.Lock()
	s := t.keys[key]
	if s == nil {
		s = &share{key: key}
		t.keys[key] = s
	}
	if s.waiting = append(s.waiting, w); len(s.waiting) == 1 {
		t.queue = append(t.queue, s)
	}
	t.next()
	t.mu.Unlock()
	release = func() { t.release(s) }
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
	if !t.leave(s, w) {
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

func (t *Turns) release(s *share) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used--
	s.used--
	t.forget(s)
	t.next()
}

// leave takes a waiter out of its queue; false if its turn has come.
func (t *Turns) leave(s *share, w *waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range s.waiting {
		if other != w {
			continue
		}
		s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
		if len(s.waiting) == 0 {
			t.dequeue(s)
			t.forget(s)
		}
		return true
	}
	return false
}

func (t *Turns) dequeue(s *share) {
	for i, other := range t.queue {
		if other == s {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			return
		}
	}
}

func (t *Turns) forget(s *share) {
	if s.used == 0 && len(s.waiting) == 0 {
		delete(t.keys, s.key)
	}
}

// next lets as many waiters begin as the limits allow. The caller holds t.mu.
func (t *Turns) next() {
	for {
		s := t.ready()
		if s == nil {
			return
		}
		if !t.rate.Allow() {
			t.again()
			return
		}
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		t.dequeue(s)
		if len(s.waiting) > 0 {
			t.queue = append(t.queue, s)
		}
		t.used++
		s.used++
		close(w.ready)
	}
}

// ready returns the first key in the queue that may have one more place.
func (t *Turns) ready() *share {
	for _, s := range t.queue {
		if s.used == 0 || s.used < part*(t.limits.Places-t.used) {
			return s
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
