package tunnel

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

const chunk = 64 << 10

// reader is a flow with a peer that has no end of data, and sends all it may at
// once: a window at a time, each a round trip after the last of it was granted.
type reader struct {
	*Stream
	trip time.Duration
}

func newReader(trip time.Duration) *reader {
	s := &Session{ledger: newLedger(netx.NewBudget(netx.ProcessBudget).Share(nil), nil), carrier: far(trip)}
	return &reader{&Stream{s: s, window: initialWindow}, trip}
}

// far is a carrier with a round trip.
type far time.Duration

func (f far) RoundTrip() time.Duration { return time.Duration(f) }
func (far) Brief() int                 { return 0 }
func (far) Moving() <-chan struct{}    { return moving }

// round takes what the peer may send, in the time that take needs for each chunk.
func (r *reader) round(take time.Duration) {
	time.Sleep(r.trip + r.trip/20) // more than the least of late, as most are
	r.unread, r.starved = r.window, true
	for r.unread > 0 {
		time.Sleep(take)
		r.consume(min(r.unread, chunk))
	}
}

// However few chunks a window is, one that a round trip bounds grows in every one.
func TestWindowGrowsWithTheRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(100 * time.Millisecond)
		for size := initialWindow; size < maxWindow; size *= 2 {
			if r.window != size {
				t.Fatalf("window of %d bytes, want %d", r.window, size)
			}
			r.round(0)
		}
		if r.window != maxWindow {
			t.Errorf("window of %d bytes, want %d", r.window, maxWindow)
		}
	})
}

// Where nothing but the reader bounds a flow, more window would be more queue.
func TestWindowIsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(100 * time.Microsecond)
		for range 10_000 {
			r.round(250 * time.Microsecond) // for 64 KiB
		}
		if r.window > 1<<20 {
			t.Errorf("window of %d bytes", r.window)
		}
	})
}
