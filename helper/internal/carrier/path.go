package carrier

import "time"

// path is a link in use.
type path struct {
	kind  string
	shape Shape
	rank  int

	rate    rate
	flown   []flown // in flight, oldest first
	sent    uint64  // payload bytes sent on this link
	acked   uint64  // payload bytes acknowledged on this link
	pushed  uint64  // sent, when an acknowledgement was asked for last
	moved   instant // last acknowledgement, or first frame after nothing was in flight
	stalled bool    // nothing is acknowledged: other links get its bytes

	arrived uint64 // payload bytes received on this link
	toldArr uint64
	ackAt   instant // when to acknowledge at the latest

	pongs  []uint64
	pingAt instant
	pinged instant // when the ping in flight was sent; 0: none
	token  uint64
	rtt    time.Duration
	heard  instant
}

// rank orders the kinds of link: the working links of the greatest rank carry data.
func rank(kind string) int {
	if kind == KindDirect {
		return 1
	}
	return 0
}

func (p *path) inFlight() int { return int(p.sent - p.acked) }

// brief is how many bytes p carries in about 1 ms, 0 if that is not known. On a link
// that delays every frame, each frame is expensive too, and brief is a whole frame.
func (p *path) brief() int {
	if p.shape.Slack >= lateSlack {
		return p.shape.MaxFrame
	}
	return int(p.rate.bandwidth() * time.Millisecond.Seconds())
}

const lateSlack = 10 * time.Millisecond

// patience is how long bytes in flight on p may stay without acknowledgement before
// other links get them.
func (p *path) patience() time.Duration {
	return max(time.Second, 4*(p.rate.roundTrip()+p.shape.Slack))
}
