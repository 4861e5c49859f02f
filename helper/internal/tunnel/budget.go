package tunnel

import (
	"sync"
	"time"
)

// Flow control windows of one flow, in bytes. Every flow may use the initial
// window; what goes beyond comes out of the session's budget.
const (
	initialWindow = 16 << 10
	maxWindow     = 16 << 20

	wakeTime = time.Millisecond / 2 // that a busy machine may take to let a reader run

	datagramWindow = 256 << 10 // of a UDP flow; fixed
)

// budget is the memory that the flows of a session share.
type budget struct {
	mu       sync.Mutex
	limit    int // bytes buffered, over all flows
	used     int
	promised int // windows of all flows: what their peers may have us buffer
	holders  map[*Stream]*holding
}

// holding is what one flow buffers and since when it has not moved.
type holding struct {
	bytes int
	since time.Time
}

func newBudget(limit int) *budget {
	if limit == 0 {
		limit = defaultBudget
	}
	return &budget{limit: limit, holders: make(map[*Stream]*holding)}
}

// hold accounts for n more bytes of st. If that exceeds the budget it returns
// the flow that has been stalled for longest, for the caller to reset.
func (b *budget) hold(st *Stream, n int) (victim *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.holders[st]
	if h == nil {
		h = &holding{since: time.Now()}
		b.holders[st] = h
	}
	h.bytes += n
	b.used += n
	if b.used <= b.limit {
		return nil
	}
	var oldest time.Time
	for s, h := range b.holders {
		if victim == nil || h.since.Before(oldest) {
			victim, oldest = s, h.since
		}
	}
	return victim
}

// release accounts for n bytes less: the flow has moved.
func (b *budget) release(st *Stream, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.holders[st]
	if h == nil {
		return
	}
	h.bytes -= n
	b.used -= n
	h.since = time.Now()
	if h.bytes <= 0 {
		delete(b.holders, st)
	}
}

// grow asks for n bytes more window. They are had as long as all windows
// together stay within the budget, so that only a great number of flows can
// exceed it.
func (b *budget) grow(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.promised+n > b.limit {
		return false
	}
	b.promised += n
	return true
}

// reserve accounts for a window that every flow has, whatever the budget.
func (b *budget) reserve(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.promised += n
}

func (b *budget) unreserve(n int) { b.reserve(-n) }
