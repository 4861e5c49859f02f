// Package hostile serves tests alone. It measures what a hostile peer makes this
// process keep, and its own tests are that peer: one that speaks the carrier, the
// multiplexer and the tunnel wrongly.
package hostile

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// Usage is what the process holds at one moment. In limits it is by how much each
// figure may grow.
type Usage struct {
	Goroutines  int
	Heap        int // bytes in use after a garbage collection
	Descriptors int // 0 where the system has no folder that lists them
}

// String returns the three figures in words.
func (u Usage) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MiB of heap, %d descriptors", u.Goroutines, float64(u.Heap)/(1<<20), u.Descriptors)
}

// Measure collects garbage and returns what is left.
func Measure() Usage {
	// The pools of buffers are empty only after two collections.
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{Goroutines: runtime.NumGoroutine(), Heap: int(m.HeapAlloc), Descriptors: descriptors()}
}

func descriptors() int {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if entries, err := os.ReadDir(dir); err == nil {
			return len(entries) - 1 // one is the folder's own
		}
	}
	return 0
}

// Meter compares what the process holds with what it held at the start. Tests
// that use one must not run in parallel with others.
type Meter struct {
	t      testing.TB
	before Usage
}

// NewMeter measures the start.
func NewMeter(t testing.TB) *Meter {
	t.Helper()
	return &Meter{t, Measure()}
}

// Grown returns by how much each figure has grown since the start; it may be negative.
func (m *Meter) Grown() Usage {
	now := Measure()
	return Usage{now.Goroutines - m.before.Goroutines, now.Heap - m.before.Heap, now.Descriptors - m.before.Descriptors}
}

// AtMost fails the test if a figure has grown by more than limit allows, now.
func (m *Meter) AtMost(limit Usage) {
	m.t.Helper()
	if grown := m.Grown(); !grown.within(limit) {
		m.t.Errorf("grown by %v; at most %v are allowed", grown, limit)
	}
}

// Settles waits up to 10 s until no figure has grown by more than limit, and fails
// the test if that does not happen. It is the check after the peer has gone.
func (m *Meter) Settles(limit Usage) {
	m.t.Helper()
	var grown Usage
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if grown = m.Grown(); grown.within(limit) {
			return
		}
	}
	m.t.Errorf("10 s later still grown by %v; at most %v are allowed", grown, limit)
}

func (u Usage) within(limit Usage) bool {
	return u.Goroutines <= limit.Goroutines && u.Heap <= limit.Heap && u.Descriptors <= limit.Descriptors
}

// Peak samples the growth of the heap, garbage included, every few milliseconds
// until stop is called, which returns the greatest, in bytes. It sees what Measure
// cannot: memory that was taken and given back meanwhile.
func (m *Meter) Peak() (stop func() int) {
	quit := make(chan struct{})
	var peak int
	var wg sync.WaitGroup
	wg.Go(func() {
		var s runtime.MemStats
		for {
			runtime.ReadMemStats(&s)
			peak = max(peak, int(s.HeapAlloc)-m.before.Heap)
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return sync.OnceValue(func() int {
		close(quit)
		wg.Wait()
		return peak
	})
}
