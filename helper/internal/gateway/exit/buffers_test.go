package exit

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// Connections that nobody reads from hold little memory together.
func TestWireGuardBuffersAreBounded(t *testing.T) {
	near, far := newKey(t), newKey(t)
	w := newWireGuard(profileFile(t, near, far.public, office(t, far, near)), nil, zerolog.Nop())
	defer w.Close()
	const connections = 48
	for range connections {
		c, err := w.Dial(t.Context(), "tcp", "10.9.0.1:19")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	stats := w.up.stack.stack.Stats().TCP
	received := func() uint64 { return stats.ValidSegmentsReceived.Value() * 1380 } // bytes, at most
	// The senders stop once the windows are full.
	for last := uint64(0); ; time.Sleep(300 * time.Millisecond) {
		now := received()
		if now-last < 1<<20 {
			break
		}
		last = now
	}
	// The n-th connection gets an n-th of the budget, so the sum is a harmonic series.
	if got, most := received(), uint64(3*bufferBudget); got > most {
		t.Errorf("%d connections have received %d MiB, want at most %d", connections, got>>20, most>>20)
	}
}
