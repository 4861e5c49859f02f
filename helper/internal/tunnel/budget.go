package tunnel

import (
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// Flow control windows of one flow, in bytes. Every flow may use the initial
// window. Anything beyond that is promised by the budget.
const (
	initialWindow = 16 << 10
	maxWindow     = 16 << 20

	wakeTime = time.Millisecond / 2 // that a busy machine may take to let a reader run

	datagramWindow = 256 << 10 // of a UDP flow; fixed

	// flowCost is the memory of a flow that buffers nothing: its goroutine and its
	// records here and in the multiplexer.
	flowCost = 8 << 10

	// stallTime is how long a flow has not moved before a new one may take its place.
	stallTime = time.Second / 4
)

// ledger is what the flows of a session hold of the budget.
type ledger struct {
	*netx.Account

	mu      sync.Mutex
	holders map[*Stream]*holding
}

// holding is what one flow buffers and since when it has not moved.
type holding struct {
	bytes int
	since time.Time
	ended bool // the flow has ended, and gives the rest back by itself
}

func newLedger(memory *netx.Share, shed func() bool) *ledger {
	return &ledger{Account: memory.Open(shed), holders: make(map[*Stream]*holding)}
}

// hold accounts for n more bytes that st buffers.
func (l *ledger) hold(st *Stream, n int) {
	l.mu.Lock()
	h := l.holders[st]
	if h == nil {
		h = &holding{since: time.Now()}
		l.holders[st] = h
	}
	h.bytes += n
	l.mu.Unlock()
	l.Hold(n)
}

// release accounts for n bytes less: the flow has moved.
func (l *ledger) release(st *Stream, n int) {
	l.mu.Lock()
	if h := l.holders[st]; h != nil {
		h.bytes -= n
		h.since = time.Now()
		if h.bytes <= 0 {
			delete(l.holders, st)
		}
	}
	l.mu.Unlock()
	l.Hold(-n)
}

// drop accounts for n bytes less that no reader has taken: the flow has not moved.
func (l *ledger) drop(st *Stream, n int) {
	l.mu.Lock()
	if h := l.holders[st]; h != nil {
		if h.bytes -= n; h.bytes <= 0 {
			delete(l.holders, st)
		}
	}
	l.mu.Unlock()
	l.Hold(-n)
}

// ended notes that st has ended, so that resetting it frees nothing.
func (l *ledger) ended(st *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.holders[st]; h != nil {
		h.ended = true
	}
}

// stalled returns the flow that buffers something and has not moved for longest, at
// least for least; nil if there is none.
func (l *ledger) stalled(least time.Duration) (longest *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest time.Time
	for st, h := range l.holders {
		if !h.ended && (longest == nil || h.since.Before(oldest)) {
			longest, oldest = st, h.since
		}
	}
	if longest != nil && time.Since(oldest) < least {
		return nil
	}
	return longest
}
