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

	busy        = 1.05 // in flight, as a multiple of what the greatest rate needs, where a queue must be
	cruise      = 1.15 // in flight, as a multiple of what the link needs to be busy
	drain       = 0.75 // the same while the queue is let run empty, to see the true round trip
	drainRounds = 100  // from one such moment to the next, but not longer than rttBucket
	startRest   = 25   // from the first frame to the first such moment, unless the start is over before
	rttBucket   = 10 * time.Second
	startGain   = 2.5
	startRounds = 3 // without growth, or with a queue, until the rate counts as found

	// What a round trip exceeds the calm one by where there is a queue: an eighth,
	// but at least and at most this.
	queueLeast = 4 * time.Millisecond
	queueMost  = 16 * time.Millisecond

	detourRounds = 10 // that are long, until the way counts as another

	// shortest is the least time over which a rate is measured. Shorter times depend
	// mostly on which thread the machine lets run.
	shortest = 20 * time.Millisecond
	calmest  = 4 * time.Millisecond // that a queue is given to run empty, at least
)

// rate measures how fast a link delivers, and bounds the bytes in flight to what keeps
// the link busy. More bytes would only wait in a queue and delay all that follow. It is
// the model of BBR (Cardwell and others, 2016): greatest recent delivery rate times the
// round-trip time without a queue. On a busy machine the minimum round-trip time is
// unreliable. So rate measures it while too few bytes are in flight for a queue.
type rate struct {
	slack     time.Duration // by which acknowledgements may be late
	delivered uint64        // bytes acknowledged
	at        instant       // when the last of them was
	firstSent instant       // when the oldest byte of the current sample was sent
	limited   uint64        // samples up to this many delivered bytes tell nothing of the link's limit

	since   instant // when a measurement over shortest began
	counted uint64  // delivered, then
	idled   bool    // there was nothing to send for a while since then

	best, bestBefore float64 // bytes a second: greatest of this bucket and the one before
	bestUntil        instant
	least, leastPast time.Duration // round trip: least of this bucket and the one before
	leastUntil       instant

	calm       time.Duration // round trip without a queue; 0 if unknown
	calmSum    time.Duration // of calmCount round trips, while it is measured
	calmCount  int
	drainUntil instant
	drainNext  instant

	settled bool          // the start is over
	lowest  time.Duration // round trip of this round; 0 before its first
	waits   int           // rounds in a row in which every frame waited in a queue
	waited  uint64        // delivered, at which the next of these rounds begins
	busyAt  instant       // when the link, not the writer, last bounded the rate
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
	calm      bool // sent while the queue ran empty
	full      bool // sent while much was under way, so that only the link holds it up
	sent      instant
	delivered uint64 // rate.delivered when it was sent
	at        instant
	firstSent instant
}

// bandwidth is the measured rate in bytes a second, 0 if unknown.
func (r *rate) bandwidth() float64 { return max(r.best, r.bestBefore) }

// roundTrip is the shortest recent round-trip time, 0 if unknown.
func (r *rate) roundTrip() time.Duration {
	if r.leastPast > 0 && (r.least == 0 || r.leastPast < r.least) {
		return r.leastPast
	}
	return r.least
}

// trip is the round-trip time that the bound of the bytes in flight is based on.
func (r *rate) trip() time.Duration {
	if r.calm > 0 {
		return r.calm
	}
	return r.roundTrip()
}

// flight is how many bytes may be in flight now.
func (r *rate) flight(now instant) int {
	bw := r.bandwidth()
	if bw == 0 {
		return firstFlight
	}
	var n float64
	switch {
	case r.slack >= lateSlack:
		// Between extension hosts no measurement is steady enough for a lower bound.
		n = max(bw*(startGain*r.roundTrip().Seconds()+r.slack.Seconds()), firstFlight)
	case now < r.drainUntil:
		n = drain * bw * r.trip().Seconds()
	case !r.settled:
		n = max(bw*(startGain*r.trip().Seconds()+r.slack.Seconds()), firstFlight)
	default:
		n = bw * (cruise*r.trip().Seconds() + r.slack.Seconds())
	}
	return max(int(min(n, 1<<30)), leastFlight)
}

// sending notes a frame that goes out while inFlight bytes are under way.
func (r *rate) sending(now instant, f *flown, inFlight int) {
	if inFlight == 0 {
		if now.sub(r.at) > shortest {
			r.since, r.counted, r.idled = now, r.delivered, false
		}
		r.at, r.firstSent = now, now
	}
	f.sent, f.delivered, f.at, f.firstSent = now, r.delivered, r.at, r.firstSent
	f.limited = r.limited > r.delivered
	f.calm = now < r.drainUntil
	f.full = 2*float64(inFlight) >= r.bandwidth()*r.trip().Seconds()
}

// idle notes that there is room on the link and nothing to send. If more bytes are in
// flight than the measured rate needs, the link is slow all the same: the writer has
// just not been woken yet.
func (r *rate) idle(now instant, inFlight int) {
	bw := r.bandwidth()
	if bw > 0 && r.slack < lateSlack && float64(inFlight) >= busy*bw*(r.trip()+r.slack).Seconds() {
		return
	}
	r.limited = r.delivered + uint64(inFlight) + 1
	r.idled = true
	if r.settled && now.sub(r.busyAt) > max(time.Second, 8*r.trip()) {
		// By now the link may be able to carry far more than it was asked to.
		r.settled, r.plateau, r.still = false, bw, startRounds-1
	}
}

// arrived notes an acknowledgement of n bytes. f is the newest of their frames.
func (r *rate) arrived(now instant, f flown, n int) {
	r.delivered += uint64(n)
	r.at, r.firstSent = now, f.sent
	rtt := max(now.sub(f.sent), time.Microsecond)
	if now > r.leastUntil {
		r.leastPast, r.least, r.leastUntil = r.least, rtt, now.add(rttBucket)
	}
	r.least = min(r.least, rtt)
	r.calmed(now, f.calm && f.full, rtt)
	r.queued(now, &f, rtt)
	took, come := max(f.sent.sub(f.firstSent), now.sub(f.at)), r.delivered-f.delivered
	if took < shortest {
		took, come, f.limited = now.sub(r.since), r.delivered-r.counted, r.idled
		if took < shortest {
			return
		}
		f.delivered = r.counted
	}
	r.since, r.counted, r.idled = now, r.delivered, false
	if took < r.roundTrip() {
		return
	}
	bw := float64(come) / took.Seconds()
	if f.limited && bw < r.bandwidth() {
		return
	}
	if now > r.bestUntil {
		r.bestBefore, r.best = r.best, 0
		r.bestUntil = now.add(max(time.Second, 8*r.roundTrip()))
	}
	r.best = max(r.best, bw)
	if f.limited {
		return
	}
	r.busyAt = now
	if r.settled || f.delivered < r.round {
		return
	}
	r.round = r.delivered
	if r.bandwidth() > r.plateau*1.25 {
		r.plateau, r.still = r.bandwidth(), 0
	} else if r.still++; r.still >= startRounds {
		r.settled, r.drainNext = true, now
	}
}

// queued looks for rounds in which every frame waited in a queue. At the start such
// rounds mean that the link is full, and end the start (as in HyStart++, RFC 9406),
// even if only the writer's window bounds the rate. After the start too little is in
// flight for a long queue, so such rounds mean that the path has changed.
func (r *rate) queued(now instant, f *flown, rtt time.Duration) {
	if !f.full {
		r.waits, r.lowest = 0, 0
		return
	}
	if r.lowest == 0 || rtt < r.lowest {
		r.lowest = rtt
	}
	if f.delivered < r.waited {
		return
	}
	trip, long := r.trip(), r.lowest
	r.waited, r.lowest = r.delivered, 0
	switch {
	case !r.settled && long > trip+min(max(trip/8, queueLeast), queueMost):
		if r.waits++; r.waits >= startRounds {
			r.settled, r.drainNext, r.waits = true, now, 0
		}
	case r.settled && long > trip+trip/2+queueLeast:
		if r.waits++; r.waits >= detourRounds {
			r.least, r.leastPast, r.calm, r.waits = long, 0, 0, 0
		}
	default:
		r.waits = 0
	}
}

// calmed notes a round-trip time, and lets the queue run empty from time to time.
func (r *rate) calmed(now instant, calm bool, rtt time.Duration) {
	switch {
	case calm:
		r.calmSum += rtt
		r.calmCount++
	case r.calmCount > 0:
		r.calm = r.calmSum / time.Duration(r.calmCount)
		r.calmSum, r.calmCount = 0, 0
	}
	if r.drainNext == 0 {
		r.drainNext = now.add(max(startRest*r.trip(), time.Second))
	}
	if now >= r.drainNext {
		r.drainUntil = now.add(max(2*r.trip(), calmest))
		r.drainNext = now.add(min(max(drainRounds*r.trip(), time.Second), rttBucket))
	}
}
