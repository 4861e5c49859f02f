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
	moved   instant // when something was acknowledged last, or sent after nothing was in flight
	stalled bool    // nothing is acknowledged: other links get what it has

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

// rank orders kinds of link: the greatest that works carries the data.
func rank(kind string) int {
	if kind == KindDirect {
		return 1
	}
	return 0
}

func (p *path) inFlight() int { return int(p.sent - p.acked) }

// brief is how many bytes keep p busy for a moment that nobody minds waiting, 0
// if that is not known. Where frames are late anyway each of them is dear too, and
// the largest is brief enough.
func (p *path) brief() int {
	if p.shape.Slack >= lateSlack {
		return p.shape.MaxFrame
	}
	return int(p.rate.bandwidth() * time.Millisecond.Seconds())
}

const lateSlack = 10 * time.Millisecond

// patience is how long p may leave what is in flight without acknowledgement
// before other links get it.
func (p *path) patience() time.Duration {
	return max(time.Second, 4*(p.rate.roundTrip()+p.shape.Slack))
}
