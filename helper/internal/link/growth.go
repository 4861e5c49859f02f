package link

import (
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
)

const (
	growEvery = 2 * time.Second  // time that a rate is measured over
	growRest  = 30 * time.Second // until it is tried again when they were of no use; doubles each time
	growFrom  = 1 << 20          // bytes a second, below which one link is enough for anybody
	channel   = 32 << 10         // bytes under way, below which no window of a channel's holds anything up
	growBy    = 1.15             // by which more links have to be faster
)

// growth decides on how many direct links a session should have. What a channel
// of the editor's carries is bounded by its window, whatever the network could
// do, so several carry several times as much, up to what the network does. Where
// one has all that the network carries, more would only add to the queue there.
type growth struct {
	since time.Time // of this measurement
	bytes uint64
	links int
	rate  float64 // of the measurement before, in bytes a second; 0 if it had other links
	tried int     // links before the attempt that goes on; 0 without one
	pause time.Duration
	rest  time.Time
}

// want returns how many links there should be, given how many are in use and
// how many bytes the session has carried. Trip is the round trip.
func (g *growth) want(now time.Time, links int, bytes uint64, trip time.Duration) int {
	if links == 0 {
		*g = growth{}
		return 1
	}
	if links != g.links {
		if links < g.links {
			g.rate, g.tried = 0, 0
		}
		g.since, g.bytes, g.links = now, bytes, links
		return links
	}
	took := now.Sub(g.since)
	if took < growEvery {
		return links
	}
	before, rate := g.rate, float64(bytes-g.bytes)/took.Seconds()
	g.since, g.bytes, g.rate = now, bytes, rate
	tried := g.tried
	g.tried = 0
	faster := rate >= before*growBy
	switch {
	case tried > 0 && !faster:
		g.pause = min(max(2*g.pause, growRest), 16*growRest)
		g.rest = now.Add(g.pause)
		return tried
	case tried == 0 && (before < growFrom || faster):
		return links // a flow that still speeds up by itself would be taken for a gain
	case rate < growFrom || rate*trip.Seconds() < float64(links)*channel || links >= carrier.MaxDirect || now.Before(g.rest):
		return links
	}
	g.tried = links
	return min(2*links, carrier.MaxDirect)
}
