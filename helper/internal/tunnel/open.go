package tunnel

import (
	"context"
	"fmt"
	"net"
	"slices"
)

// opening is a flow that Open was asked for.
type opening struct {
	req   Request
	b     []byte // the messages to begin with
	early int    // bytes of data in them
	done  chan struct{}

	st  *Stream // set before done is closed, if err is nil
	err error
}

// Open sends a request with early data, which is copied and at most EarlyMax bytes
// long. It waits until a link takes the request, but not for the answer. If ctx ends
// first, nothing remains of the flow, and the peer does not hear of it unless the
// request was under way already. The error is ctx's cause, the session's end, or an
// *Error if too many flows are open.
func (s *Session) Open(ctx context.Context, req Request, early []byte) (*Stream, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(early) > EarlyMax {
		return nil, fmt.Errorf("open flow: %d bytes of early data, at most %d allowed", len(early), EarlyMax)
	}
	b := make([]byte, headerSize, headerSize+128+headerSize+len(early))
	b, err := appendRequest(b, req)
	if err != nil {
		return nil, fmt.Errorf("open flow: %w", err)
	}
	h := header(msgRequest, len(b)-headerSize)
	copy(b, h[:])
	if len(early) > 0 {
		h = header(msgData, len(early))
		b = append(append(b, h[:]...), early...)
	}
	o := &opening{req: req, b: b, early: len(early), done: make(chan struct{})}
	if err := s.enqueue(o); err != nil {
		return nil, err
	}
	select {
	case <-o.done:
	case <-s.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if st, opened := s.withdraw(o); opened {
		return st, o.err
	}
	if err == nil {
		err = s.closedError(net.ErrClosed)
	}
	return nil, err
}

// enqueue has the opener open o, after those that came before it.
func (s *Session) enqueue(o *opening) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.closedErrorLocked(net.ErrClosed)
	case len(s.streams)+len(s.openings) >= s.maxFlows:
		return &Error{Code: Overloaded, Reason: "too many open flows"}
	}
	s.openings = append(s.openings, o)
	if !s.opening {
		s.opening = true
		s.wg.Go(s.openAll)
	}
	return nil
}

// withdraw ends the wait for o. If o was opened, it returns the result. Otherwise it
// takes o out of the queue, or has openAll reset the flow.
func (s *Session) withdraw(o *opening) (st *Stream, opened bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-o.done:
		return o.st, true
	default:
	}
	if i := slices.Index(s.openings, o); i >= 0 {
		s.openings = slices.Delete(s.openings, i, i+1)
	} else {
		s.unwanted = true
	}
	return nil, false
}

// openAll opens the flows in the queue one after the other. A call of yamux cannot be
// cancelled, so at most one waits for the links at a time. While no link moves, all
// flows stay in the queue, where their contexts can end them.
func (s *Session) openAll() {
	for {
		select {
		case <-s.carrier.Moving():
		case <-s.done:
		}
		s.mu.Lock()
		if len(s.openings) == 0 || s.err != nil {
			s.opening = false
			s.mu.Unlock()
			return
		}
		o := s.openings[0]
		s.openings = slices.Delete(s.openings, 0, 1)
		s.unwanted = false
		s.mu.Unlock()
		st, err := s.open(o)
		s.mu.Lock()
		unwanted := s.unwanted
		if o.st, o.err = st, err; !unwanted {
			close(o.done)
		}
		s.mu.Unlock()
		if unwanted && st != nil {
			st.Reset("no longer wanted")
			_ = st.Close()
		}
	}
}

// open sends the request of o on a new stream.
func (s *Session) open(o *opening) (*Stream, error) {
	y, err := s.mux.OpenStream()
	if err != nil {
		return nil, s.closedError(err)
	}
	st := newStream(s, y, o.req)
	st.credit -= o.early
	if !s.add(st) {
		_ = y.Close()
		return nil, s.closedError(net.ErrClosed)
	}
	if _, err := st.raw.Write(o.b); err != nil {
		st.fail(s.closedError(err))
		s.wg.Done()
		s.remove(st)
		_ = y.Close()
		return nil, s.closedError(err)
	}
	go st.receive()
	return st, nil
}
