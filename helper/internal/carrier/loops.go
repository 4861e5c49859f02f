package carrier

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// readLoop takes frames off the link until it breaks or the peer misbehaves.
func (c *Conn) readLoop(l Link) error {
	for {
		b, err := l.ReadFrame()
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return errors.New("empty frame")
		}
		if err := c.receive(b); err != nil {
			return err
		}
	}
}

func (c *Conn) receive(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	switch frameType(b[0]) {
	case frameData:
		seq, a, payload, err := parseData(b)
		if err != nil {
			return err
		}
		if err := c.acknowledged(a); err != nil {
			return err
		}
		return c.accept(seq, payload)
	case frameAck:
		a, err := parseAck(b)
		if err != nil {
			return err
		}
		return c.acknowledged(a)
	case framePing:
		token, err := parsePing(b)
		if err != nil {
			return err
		}
		if len(c.pongs) < 4 {
			c.pongs = append(c.pongs, token)
			c.kick()
		}
		return nil
	case framePong:
		token, err := parsePing(b)
		if err != nil {
			return err
		}
		if token == c.pingSeq && !c.pinged.IsZero() {
			c.rtt = time.Since(c.pinged)
			c.pinged = time.Time{}
		}
		return nil
	case frameClose:
		return &ClosedError{Reason: clean(b[1:])}
	default:
		return fmt.Errorf("unknown frame type %d", b[0])
	}
}

// accept takes the payload of a data frame in.
func (c *Conn) accept(seq uint64, payload []byte) error {
	if seq != c.received {
		return fmt.Errorf("frame starts at byte %d, %d was due", seq, c.received)
	}
	if n := c.in.write(payload); n < len(payload) {
		return errors.New("the other side sent more than its window")
	}
	c.received += uint64(len(payload))
	if c.ackAt.IsZero() {
		c.ackAt = time.Now().Add(ackDelay)
		c.kick()
	}
	if c.received-c.told.received >= uint64(c.o.Window/8) {
		c.ackAt = time.Now()
		c.kick()
	}
	c.readable.Broadcast()
	return nil
}

// acknowledged frees what the peer has received.
func (c *Conn) acknowledged(a ackState) error {
	if a.received < c.out.start || a.limit < c.allowed {
		return nil // late: overtaken by a newer one
	}
	if a.received > c.sent || a.limit < a.received {
		return errors.New("the other side acknowledges what was never sent")
	}
	freed := a.received > c.out.start
	c.out.drop(a.received)
	c.allowed = a.limit
	if freed {
		c.writable.Broadcast()
	}
	c.kick()
	return nil
}

// writeLoop sends what there is to send until the carrier ends or the link breaks.
func (c *Conn) writeLoop(l Link) error {
	frame := make([]byte, 0, l.MaxFrame())
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var wait time.Duration
		var ended error
		if frame, wait, ended = c.next(frame[:0], l); ended != nil {
			return ended
		}
		if len(frame) > 0 {
			if err := l.WriteFrame(frame); err != nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// next appends the frame that is due to b, or says how long nothing will be.
func (c *Conn) next(b []byte, l Link) ([]byte, time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.err != nil {
		return nil, 0, c.err
	}
	if len(c.pongs) > 0 {
		token := c.pongs[0]
		c.pongs = c.pongs[1:]
		return appendPing(b, framePong, token), 0, nil
	}
	if !now.Before(c.pingAt) {
		c.pingAt = now.Add(pingInterval)
		if c.pinged.IsZero() {
			c.pingSeq++
			c.pinged = now
			return appendPing(b, framePing, c.pingSeq), 0, nil
		}
	}
	end := min(c.out.end, c.allowed, c.out.start+uint64(l.Window()))
	if end > c.sent {
		n := min(int(end-c.sent), l.MaxFrame()-Overhead)
		b = appendData(b, c.sent, c.tell())
		b = b[:len(b)+n]
		c.out.peek(b[len(b)-n:], c.sent)
		c.sent += uint64(n)
		return b, 0, nil
	}
	if !c.ackAt.IsZero() && !now.Before(c.ackAt) {
		return appendAck(b, c.tell()), 0, nil
	}
	wake := c.pingAt
	if !c.ackAt.IsZero() && c.ackAt.Before(wake) {
		wake = c.ackAt
	}
	return b, time.Until(wake), nil
}

// tell is the acknowledgement that goes out now.
func (c *Conn) tell() ackState {
	c.told = ackState{c.received, c.limit()}
	c.ackAt = time.Time{}
	return c.told
}

// clean makes a reason from the other side fit for a log.
func clean(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, string(b[:min(len(b), maxReason)]))
}
