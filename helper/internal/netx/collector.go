package netx

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	calmPercent = 25  // of the live memory, that may become garbage before it is collected
	busyPercent = 200 // at most, while the process is busy
	busyGarbage = 4 << 20
	busyCount   = 8 // collections
	busyGap     = 50 * time.Millisecond
	calmTime    = time.Second
)

// TuneCollector tells the garbage collector of this process how to balance memory
// and processor time. A helper runs beside an editor, so it collects early, and never
// holds more than MemoryLimit. While it carries much, its small live memory would be
// collected up to a hundred times per second. Then up to 4 MiB may become garbage
// before it is collected. About a second after the last such collection, the process
// is calm again.
func TuneCollector() {
	debug.SetMemoryLimit(MemoryLimit)
	debug.SetGCPercent(calmPercent)
	c := &collector{}
	c.watch(&collection{c})
}

// collector counts the collections that follow each other closely.
type collector struct {
	mu    sync.Mutex
	last  time.Time // collection
	close int       // collections without a gap between them
	busy  bool
}

// collection is unreachable, so each collection of garbage finds it.
type collection struct{ of *collector }

func (c *collector) watch(next *collection) {
	runtime.SetFinalizer(next, func(n *collection) {
		c.collected()
		c.watch(n)
	})
}

func (c *collector) collected() {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.last) < busyGap {
		c.close++
	} else {
		c.close = 0
	}
	c.last = now
	if !c.busy && c.close >= busyCount {
		c.busy = true
		time.AfterFunc(calmTime, c.check)
	}
	if c.busy {
		debug.SetGCPercent(percentFor(live()))
	}
}

// check makes the process calm if it was not collected for a while.
func (c *collector) check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) < calmTime {
		time.AfterFunc(calmTime, c.check)
		return
	}
	c.busy, c.close = false, 0
	debug.SetGCPercent(calmPercent)
}

// percentFor returns the percentage that lets busyGarbage bytes become garbage beside
// live bytes, within its bounds.
func percentFor(live uint64) int {
	return int(min(max(busyGarbage*100/max(live, 1), calmPercent), busyPercent))
}

// live returns how many bytes the last collection found in use.
func live() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
