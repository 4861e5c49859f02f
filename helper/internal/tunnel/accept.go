package tunnel

import (
	"errors"
	"time"
)

func (s *Session) acceptLoop() {
	defer s.wg.Done()
	for {
		y, err := s.mux.AcceptStream()
		if err != nil {
			s.end(err)
			return
		}
		st := newStream(s, y, Request{})
		st.acceptor = true
		over := s.Flows() >= s.maxFlows || !s.ledger.Fits(flowCost) && !s.shed(stallTime)
		if !s.add(st) {
			_ = y.Close()
			continue
		}
		s.expectRequest(st)
		go s.admit(st, over)
	}
}

// admit reads a new stream's request, hands the stream to Accept or Control,
// and then receives for it.
func (s *Session) admit(st *Stream, over bool) {
	err := st.readRequest()
	s.mu.Lock()
	delete(s.waiting, st)
	s.mu.Unlock()
	if offence, ok := errors.AsType[*breach](err); ok {
		s.end(offence)
	}
	if err == nil && over {
		// The answer may wait for the links. Receiving goes on meanwhile.
		s.spawn(func() {
			_ = st.Reply(Overloaded, "too many open flows")
			st.Reset("too many open flows")
		})
		st.receive()
		return
	}
	isControl := st.req.Target.Network == control
	if err == nil && isControl == s.server {
		err = errors.New("this end does not accept that kind of stream")
	}
	if err != nil {
		s.log.Debug().Err(err).Msg("stream refused")
		st.Reset(err.Error())
		_ = st.Close()
		st.receive()
		return
	}
	if isControl {
		select {
		case s.controls <- st:
		default:
			st.Reset("there is a control stream already")
			_ = st.Close()
		}
	} else {
		s.hand(st)
	}
	st.receive()
}

// hand gives st to Accept, without waiting for that.
func (s *Session) hand(st *Stream) {
	select {
	case s.accepted <- st:
		return
	default:
	}
	s.spawn(func() {
		select {
		case s.accepted <- st:
		case <-s.done:
			_ = st.Close()
		}
	})
}

// expectRequest begins to count the time until the request of st.
func (s *Session) expectRequest(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[st] = 0
	if !s.counting {
		s.counting = true
		time.AfterFunc(requestTick, s.countRequests)
	}
}

// countRequests ends the session if a request does not come. Time without a link
// that moves is not the peer's fault.
func (s *Session) countRequests() {
	moved := false
	select {
	case <-s.carrier.Moving():
		moved = true
	default:
	}
	late := false
	s.mu.Lock()
	for st := range s.waiting {
		if moved {
			s.waiting[st] += requestTick
		}
		late = late || s.waiting[st] > requestTime
	}
	s.counting = len(s.waiting) > 0 && s.err == nil && !late
	if s.counting {
		time.AfterFunc(requestTick, s.countRequests)
	}
	s.mu.Unlock()
	if late {
		s.end(breachf("a stream has no request after %v", requestTime))
	}
}

// shed resets the flow that has been stalled for longest, at least for least. It
// returns false if there is none.
func (s *Session) shed(least time.Duration) bool {
	victim := s.ledger.stalled(least)
	if victim == nil {
		return false
	}
	s.log.Warn().Stringer("target", victim.req.Target).
		Msg("flow reset: its program takes no data, and the buffers of this helper are full")
	victim.Reset("stalled while the session's buffers were full")
	return true
}
