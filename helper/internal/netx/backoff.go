package netx

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff spaces the attempts of a retry loop. Each wait is twice the one
// before, up to Most. A Backoff belongs to one goroutine.
type Backoff struct {
	First time.Duration // the first wait; required
	Most  time.Duration // the longest wait; 0 means no limit
	// Jitter is the random share of each wait, from 0 (none) to 1 (all of it).
	// Random waits keep many retries from arriving at the same moment.
	Jitter float64

	next time.Duration // 0 before the first wait
}

// Next returns how long to wait before the next attempt, and doubles the wait
// after that.
func (b *Backoff) Next() time.Duration {
	wait := max(b.next, b.First)
	if b.Most > 0 {
		wait = min(wait, b.Most)
	}
	b.next = max(wait, 2*wait) // which may overflow
	return wait - time.Duration(min(max(b.Jitter, 0), 1)*rand.Float64()*float64(wait))
}

// Reset makes the next wait the first one again: an attempt succeeded.
func (b *Backoff) Reset() { b.next = 0 }

// Wait blocks for Next. If ctx ends earlier, Wait returns its cause at once.
func (b *Backoff) Wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
