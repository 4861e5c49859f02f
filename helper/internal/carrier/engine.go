package carrier

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// engine is the state of one end of a carrier, with all its transitions. It has no
// clock, lock, goroutine or link: its caller passes the time and moves the frames.
// spec.md has the rules.
type engine struct {
	window   int
	fits     func(n int) bool // whether n bytes more may be held; nil: always
	instance [8]byte          // of this end
	peer     [8]byte          // instance of the other end, once met
	met      bool

	out     buffer // written and not acknowledged
	fresh   uint64 // the next byte to send for the first time
	written uint64 // the end of what was written
	again   spans  // sent and not acknowledged, to be sent again
	allowed uint64 // up to which the peer lets us send

	in       buffer // received and not read
	received uint64 // the next byte wanted
	early    spans  // what came before its turn
	told     uint64 // the greatest limit told

	paths []*path
}

// Bounds of what an engine keeps.
const (
	maxFlown = 8192 // frames in flight on a link
	maxEarly = 4096 // gaps in what was received
	// maxUnread is how much is sent at most that the peer's reader has not taken, in
	// bytes, whatever the peer allows: all of it is kept here.
	maxUnread = DefaultWindow
	// minUnread is how much of that is sent even if memory is short, in bytes.
	minUnread = 1 << 20
	minFrame  = 16 << 10

	pingInterval = 5 * time.Second
	ackDelay     = 10 * time.Millisecond
	// SilentAfter is how long a peer may say nothing before its links count as silent.
	SilentAfter = 15 * time.Second
	// giveUpAfter is when a stalled direct link is closed.
	giveUpAfter = time.Minute
)

var errRestarted = errors.New("the other helper was started anew, its connections are lost")

// attach takes a link into use. h is the peer's greeting on it.
func (e *engine) attach(p *path, h hello, now instant) error {
	switch {
	case e.met && e.peer != h.instance:
		return errRestarted
	case h.received > e.fresh || h.limit < h.received:
		return errors.New("the other side has another session's state")
	}
	e.met, e.peer = true, h.instance
	p.rank, p.heard, p.moved, p.ackAt = rank(p.kind), now, now, never
	p.pingAt = now // the first one measures the round trip
	p.rate.slack = p.shape.Slack
	for _, q := range e.paths {
		if q.stalled {
			e.requeue(q)
		}
	}
	e.paths = append(e.paths, p)
	e.acknowledged(h.received, h.limit)
	return nil
}

// detach takes a link out of use. Its bytes in flight go over another link.
func (e *engine) detach(p *path, now instant) {
	for i, q := range e.paths {
		if q == p {
			e.paths = append(e.paths[:i], e.paths[i+1:]...)
			e.requeue(p)
			e.tellAll(now)
			for _, q := range e.paths {
				q.rate.drainNext = now // the lost link's queue was part of their round-trip times
			}
			return
		}
	}
}

func (e *engine) requeue(p *path) {
	for i := range p.flown {
		f := &p.flown[i]
		if !f.requeued {
			f.requeued = true
			e.again.add(span{max(f.seq, e.out.start), f.seq + uint64(f.n)})
		}
	}
	e.again.cut(e.out.start)
}

// tellAll sends an acknowledgement over every link now, because one may have been lost.
func (e *engine) tellAll(now instant) {
	for _, p := range e.paths {
		p.ackAt = now
	}
}

// usable tells whether p may carry data: no better kind of link works.
func (e *engine) usable(p *path) bool {
	for _, q := range e.paths {
		if p.stalled && !q.stalled || p.stalled == q.stalled && q.rank > p.rank {
			return false
		}
	}
	return true
}

// room is how many bytes may be written now: enough to keep the links busy until the
// writer has been woken. More bytes would wait here and delay all that follow.
func (e *engine) room() int {
	most := firstFlight
	if brief := e.brief(); brief > 0 {
		most = min(max(brief, 4*minFrame), 12*minFrame)
	}
	return most - int(e.written-e.fresh)
}

// brief is how many bytes all links that carry data move in about 1 ms, 0 if that is
// not known.
func (e *engine) brief() (sum int) {
	for _, p := range e.paths {
		if e.usable(p) {
			sum += p.brief()
		}
	}
	return sum
}

// write takes as much of p as there is room for.
func (e *engine) write(p []byte) int {
	n := max(min(len(p), e.room()), 0)
	e.out.write(e.written, p[:n])
	e.written += uint64(n)
	return n
}

// readable is how many bytes can be read.
func (e *engine) readable() int { return int(e.received - e.in.start) }

// read moves what was received into p.
func (e *engine) read(p []byte, now instant) int {
	n := min(len(p), e.readable())
	e.in.read(e.in.start, p[:n])
	e.in.drop(e.in.start + uint64(n))
	if e.limit()-e.told >= uint64(e.window/4) {
		e.told = e.limit()
		e.tellAll(now)
	}
	return n
}

// limit is the offset up to which the peer may send.
func (e *engine) limit() uint64 { return e.in.start + uint64(e.window) }

// receive takes in a frame that came over p. An error ends the link.
func (e *engine) receive(p *path, b []byte, now instant) error {
	p.heard = now
	if p.stalled {
		p.stalled, p.moved = false, now
	}
	switch frameType(b[0]) {
	case frameData, frameDataPush:
		seq, a, payload, err := parseData(b)
		if err != nil {
			return err
		}
		if err := e.ack(p, a, now); err != nil {
			return err
		}
		return e.accept(p, seq, payload, frameType(b[0]) == frameDataPush, now)
	case frameAck:
		a, err := parseAck(b)
		if err != nil {
			return err
		}
		return e.ack(p, a, now)
	case framePing:
		token, err := parsePing(b)
		if err == nil && len(p.pongs) < 4 {
			p.pongs = append(p.pongs, token)
		}
		return err
	case framePong:
		token, err := parsePing(b)
		if err == nil && token == p.token && p.pinged != 0 {
			p.rtt, p.pinged = now.sub(p.pinged), 0
		}
		return err
	case frameClose:
		return &ClosedError{Reason: clean(b[1:])}
	default:
		return fmt.Errorf("unknown frame type %d", b[0])
	}
}

// accept takes in the payload of a data frame. A payload that is there already is
// allowed: the peer sends bytes again if a link seems to be lost.
func (e *engine) accept(p *path, seq uint64, payload []byte, push bool, now instant) error {
	end := seq + uint64(len(payload))
	switch {
	case end < seq || end > e.limit():
		return errors.New("the other side sent more than its window")
	case len(payload) == 0:
		return errors.New("data frame without data")
	}
	p.arrived += uint64(len(payload))
	p.ackAt = min(p.ackAt, now.add(ackDelay))
	if push || p.arrived-p.toldArr >= uint64(p.shape.Window/8) {
		p.ackAt = now
	}
	if end <= e.received {
		return nil
	}
	if seq < e.received {
		payload, seq = payload[e.received-seq:], e.received
	}
	e.in.write(seq, payload)
	if seq > e.received {
		if e.early.add(span{seq, end}); len(e.early) > maxEarly {
			return errors.New("the other side sends in too many pieces")
		}
		return nil
	}
	e.received = end
	if len(e.early) > 0 && e.early[0].start <= e.received {
		e.received = max(e.received, e.early[0].end)
		e.early.cut(e.received)
	}
	return nil
}

// ack takes in how much the peer has received, in total and over p.
func (e *engine) ack(p *path, a ackState, now instant) error {
	if a.received > e.fresh || a.limit < a.received || a.arrived > p.sent {
		return errors.New("the other side acknowledges what was never sent")
	}
	e.acknowledged(a.received, a.limit)
	if a.arrived <= p.acked {
		return nil
	}
	var newest flown
	n, done := 0, 0
	for done < len(p.flown) && p.acked+uint64(n+p.flown[done].n) <= a.arrived {
		newest = p.flown[done]
		n += newest.n
		done++
	}
	if done == 0 {
		return nil
	}
	p.acked += uint64(n)
	p.flown = p.flown[:copy(p.flown, p.flown[done:])]
	p.moved = now
	p.rate.arrived(now, newest, n)
	return nil
}

func (e *engine) acknowledged(received, limit uint64) {
	if received > e.out.start {
		e.out.drop(received)
		e.again.cut(received)
	}
	e.allowed = max(e.allowed, limit)
}

// next appends the frame that is due on p to b. If none is due, it returns the time
// when the next one will be, unless something happens before.
func (e *engine) next(p *path, b []byte, now instant) ([]byte, instant) {
	if len(p.pongs) > 0 {
		token := p.pongs[0]
		p.pongs = p.pongs[1:]
		return appendPing(b, framePong, token), 0
	}
	if now >= p.pingAt {
		p.pingAt, p.ackAt = now.add(pingInterval), now
		if p.pinged == 0 {
			p.token++
			p.pinged = now
			return appendPing(b, framePing, p.token), 0
		}
	}
	if b := e.nextData(p, b, now); b != nil {
		return b, 0
	}
	if now >= p.ackAt {
		return appendAck(b, e.tell(p)), 0
	}
	return b, min(p.pingAt, p.ackAt)
}

// nextData appends the data frame that is due on p, nil if none is.
func (e *engine) nextData(p *path, b []byte, now instant) []byte {
	if !e.usable(p) || len(p.flown) >= maxFlown {
		return nil
	}
	s := span{e.fresh, min(e.written, e.allowed, e.out.start+maxUnread)}
	lost := len(e.again) > 0
	if lost {
		s = e.again[0]
	}
	if s.start >= s.end {
		p.rate.idle(now, p.inFlight())
		return nil
	}
	flight := min(p.rate.flight(now), p.shape.Window)
	room := flight - p.inFlight()
	brief := p.brief()
	frame := min(max(min(flight/4, brief), minFrame), p.shape.MaxFrame-Overhead)
	n := min(int(s.end-s.start), frame)
	if room < n && p.inFlight() > 0 {
		return nil // wait until a whole frame fits
	}
	if !lost && e.fresh-e.out.start > minUnread && e.fits != nil && !e.fits(n) {
		return nil // the acknowledgements of what is under way free memory
	}
	if p.inFlight() == 0 {
		p.moved = now
	}
	f := flown{seq: s.start, n: n}
	p.rate.sending(now, &f, p.inFlight())
	p.sent += uint64(n)
	p.flown = append(p.flown, f)
	t := frameData
	if room-n < frame || p.sent-p.pushed >= uint64(max(flight/16, min(flight/4, brief))) {
		t, p.pushed = frameDataPush, p.sent
	}
	b = appendData(b, t, s.start, e.tell(p))
	b = slices.Grow(b, n)[:len(b)+n]
	e.out.read(s.start, b[len(b)-n:])
	if lost {
		e.again.cut(s.start + uint64(n))
	} else {
		e.fresh += uint64(n)
	}
	return b
}

// tell is the acknowledgement that goes out on p now.
func (e *engine) tell(p *path) ackState {
	p.ackAt, p.toldArr = never, p.arrived
	e.told = e.limit()
	return ackState{e.received, e.told, p.arrived}
}

// watch marks links as stalled whose bytes are not acknowledged in time. It returns
// when to call it again, and whether anything changed.
func (e *engine) watch(now instant) (next instant, changed bool) {
	next = never
	for _, p := range e.paths {
		if p.stalled {
			next = min(next, now.add(SilentAfter))
			continue
		}
		if p.inFlight() == 0 {
			continue
		}
		at := p.moved.add(p.patience())
		if now >= at {
			p.stalled, changed = true, true
			if len(e.paths) > 1 {
				e.requeue(p)
			}
			continue
		}
		next = min(next, at)
	}
	return next, changed
}
