package carrier

import "time"

// instant is a point in time, in nanoseconds since the engine was made.
type instant int64

func (t instant) add(d time.Duration) instant { return t + instant(d) }
func (t instant) sub(u instant) time.Duration { return time.Duration(t - u) }

const never = instant(1<<63 - 1)

// Bounds of what a link may have in flight before its rate is known, and at least.
const (
	firstFlight = 128 << 10
	leastFlight = 32 << 10

	busy        = 1.25 // in flight, as a multiple of what the greatest rate needs, where a queue must be
	cruise      = 1.15 // in flight, as a multiple of what the link needs to be busy
	drain       = 0.75 // the same while the queue is let run empty, to see the true round trip
	rttBucket   = 5 * time.Second
	startRounds = 3 // without growth, until the rate counts as found
)

// rate measures what a link delivers, and bounds what is in flight to what keeps
// the link busy: more would only wait in a queue, and delay everything that
// comes after it. It is the model of BBR (Cardwell and others, 2016): greatest
// delivery rate of late times least round trip of late.
type rate struct {
	slack     time.Duration // by which acknowledgements may be late
	delivered uint64        // bytes acknowledged
	at        instant       // when the last of them was
	firstSent instant       // when the oldest byte of the current sample was sent
	limited   uint64        // samples up to this many delivered bytes tell nothing of the link's limit

	best, bestBefore float64 // bytes a second: greatest of this bucket and the one before
	bestUntil        instant
	least, leastPast time.Duration // round trip: least of this bucket and the one before
	leastUntil       instant
	drainUntil       instant

	settled bool // the start is over
	plateau float64
	still   int
	round   uint64 // delivered, at which the next round begins
}

// flown is what is remembered of a frame in flight.
type flown struct {
	seq       uint64
	n         int
	requeued  bool // goes over another link too
	limited   bool
	sent      instant
	delivered uint64 // rate.delivered when it was sent
	at        instant
	firstSent instant
}

// bandwidth is the measured rate in bytes a second, 0 if unknown.
func (r *rate) bandwidth() float64 { return max(r.best, r.bestBefore) }

// roundTrip is the least round trip of late, 0 if unknown.
func (r *rate) roundTrip() time.Duration {
	if r.leastPast > 0 && (r.least == 0 || r.leastPast < r.least) {
		return r.leastPast
	}
	return r.least
}

// flight is how many bytes may be in flight now.
func (r *rate) flight(now instant) int {
	bw := r.bandwidth()
	if bw == 0 {
		return firstFlight
	}
	rtt := r.roundTrip()
	gain := cruise
	switch {
	case !r.settled:
		gain = 2.5
	case now < r.drainUntil:
		gain = drain
	}
	n := gain*bw*rtt.Seconds() + bw*r.slack.Seconds()
	if !r.settled {
		n = max(n, firstFlight)
	}
	return max(int(min(n, 1<<30)), leastFlight)
}

// sending notes a frame that goes out while inFlight bytes are under way.
func (r *rate) sending(now instant, f *flown, inFlight int) {
	if inFlight == 0 {
		r.at, r.firstSent = now, now
	}
	f.sent, f.delivered, f.at, f.firstSent = now, r.delivered, r.at, r.firstSent
	f.limited = r.limited > r.delivered
}

// idle notes that there is room on the link and nothing to send. If more is
// under way than a rate that is all that was asked for would need, the link is
// slow all the same, and whoever writes has only not been woken yet.
func (r *rate) idle(inFlight int) {
	if float64(inFlight) < busy*r.bandwidth()*r.roundTrip().Seconds() || r.bandwidth() == 0 {
		r.limited = r.delivered + uint64(inFlight) + 1
	}
}

// arrived takes in that f, the newest of the frames acknowledged now, and n
// bytes in all have come through.
func (r *rate) arrived(now instant, f flown, n int) {
	r.delivered += uint64(n)
	r.at, r.firstSent = now, f.sent
	rtt := max(now.sub(f.sent), time.Microsecond)
	if now > r.leastUntil {
		r.leastPast, r.least, r.leastUntil = r.least, rtt, now.add(rttBucket)
		if r.settled {
			r.drainUntil = now.add(r.roundTrip() * 3 / 2)
		}
	}
	r.least = min(r.least, rtt)
	took := max(f.sent.sub(f.firstSent), now.sub(f.at))
	if took < r.roundTrip() || took <= 0 {
		return
	}
	bw := float64(r.delivered-f.delivered) / took.Seconds()
	if f.limited && bw < r.bandwidth() {
		return
	}
	if now > r.bestUntil {
		r.bestBefore, r.best = r.best, 0
		r.bestUntil = now.add(max(time.Second, 8*r.roundTrip()))
	}
	r.best = max(r.best, bw)
	if r.settled || f.limited || f.delivered < r.round {
		return
	}
	r.round = r.delivered
	if r.bandwidth() > r.plateau*1.25 {
		r.plateau, r.still = r.bandwidth(), 0
	} else if r.still++; r.still >= startRounds {
		r.settled = true
	}
}
