package link

import (
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
)

const (
	growEvery = 2 * time.Second  // time that a rate is measured over
	growRest  = 30 * time.Second // pause after more links brought nothing; doubles each time
	growFrom  = 1 << 20          // bytes per second; below that, one link is enough
	channel   = 32 << 10         // bytes in flight; below that, no channel's window slows a flow
	growBy    = 1.15             // factor by which more links must be faster
)

// growth decides how many direct links a session should have. The window of an
// editor's channel bounds its rate, also on a faster network. So several channels
// carry several times as much, up to the rate of the network. If one channel fills
// the network, more would only lengthen the queue there.
type growth struct {
	since time.Time // of this measurement
	bytes uint64
	links int
	rate  float64 // of the measurement before, in bytes per second; 0 if the number of links was different
	tried int     // number of links before the current attempt; 0 without an attempt
	pause time.Duration
	rest  time.Time
}

// want returns how many links there should be. Links is how many are in use, bytes
// how many bytes the session has carried, and trip the round-trip time.
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
		return links // the flow still speeds up by itself: that would count as a gain
	case rate < growFrom || rate*trip.Seconds() < float64(links)*channel || links >= carrier.MaxDirect || now.Before(g.rest):
		return links
	}
	g.tried = links
	return min(2*links, carrier.MaxDirect)
}
