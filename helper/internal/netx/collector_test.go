package netx

import (
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func percent() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

var garbage []byte // escapes

// A busy process is collected less often, and a calm one early again.
func TestCollectorFollowsTheWork(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	before := debug.SetGCPercent(100)
	TuneCollector()
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(before)
	})
	if p := percent(); p != calmPercent {
		t.Fatalf("at the start the collector's percentage is %d, not %d", p, calmPercent)
	}
	end := time.Now().Add(10 * time.Second)
	for percent() <= calmPercent {
		if time.Now().After(end) {
			t.Fatal("the collector works as often in a busy process as in a calm one")
		}
		for range 1000 {
			garbage = make([]byte, 4<<10)
		}
	}
	for end = time.Now().Add(10 * time.Second); percent() != calmPercent; time.Sleep(calmTime / 10) {
		if time.Now().After(end) {
			t.Fatalf("the collector's percentage of a calm process is %d, not %d", percent(), calmPercent)
		}
	}
}

// However much is live, garbage takes little more than in a calm process.
func TestPercentForBoundsTheGarbage(t *testing.T) {
	for live, want := range map[uint64]int{0: busyPercent, 1 << 20: busyPercent, 4 << 20: 100, 8 << 20: 50, 16 << 20: calmPercent, 40 << 20: calmPercent} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB are live: %d %%, want %d %%", live>>20, got, want)
		}
	}
}
