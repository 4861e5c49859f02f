package flow

import (
	"container/list"
	"context"
	"io"
	"sync"
	"time"
)

const (
	// maxExchanges bounds the flows of UDP that one capture has at a time.
	maxExchanges = 1024
	// patience is how long a flow that has not been answered keeps its slot while
	// others wait for one.
	patience = time.Second
)

// slots bound how many flows of UDP there are. If all are taken, the flow that was
// answered and has been silent for the longest time gives way: a client that has
// its answer may never send again. If no flow was answered, the oldest gives way.
type slots struct {
	max int

	mu       sync.Mutex
	asking   list.List     // of *slot, oldest first: not answered
	answered list.List     // of *slot, silent for the longest time first
	freed    chan struct{} // of capacity 1
}

// slot is the place of one flow.
type slot struct {
	all   *slots
	since time.Time
	at    *list.Element // nil once the slot was given up
	in    *list.List
	conn  io.Closer // nil before the flow is open
}

func (s *slots) init(limit int) { s.max, s.freed = limit, make(chan struct{}, 1) }

// take waits for a slot.
func (s *slots) take(ctx context.Context) (*slot, error) {
	for {
		taken, victim, wait := s.try()
		if victim != nil {
			_ = victim.Close()
		}
		if taken != nil {
			return taken, nil
		}
		again := time.NewTimer(wait)
		select {
		case <-s.freed:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, context.Cause(ctx)
		}
		again.Stop()
	}
}

// try takes a slot, or says how long to wait. victim is the flow that gave way.
func (s *slots) try() (taken *slot, victim io.Closer, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.asking.Len()+s.answered.Len() >= s.max {
		first := s.answered.Front()
		if first == nil {
			first = s.asking.Front()
			if age := now.Sub(first.Value.(*slot).since); age < patience {
				return nil, nil, patience - age
			}
		}
		v := first.Value.(*slot)
		v.remove()
		victim = v.conn
	}
	taken = &slot{all: s, since: now, in: &s.asking}
	taken.at = s.asking.PushBack(taken)
	return taken, victim, 0
}

// open tells which flow has the slot. It is false if the slot is lost already.
func (t *slot) open(conn io.Closer) bool {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.conn = conn
	return t.at != nil
}

// moved notes a datagram of the flow; answer says that the target sent it.
func (t *slot) moved(answer bool) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	switch {
	case t.at == nil:
	case answer && t.in == &t.all.asking:
		t.in.Remove(t.at)
		t.in = &t.all.answered
		t.at = t.in.PushBack(t)
		t.all.signal() // it can give way now
	case t.in == &t.all.answered:
		t.in.MoveToBack(t.at)
	}
}

// release gives the slot up; calls after the first do nothing.
func (t *slot) release() {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if t.at != nil {
		t.remove()
		t.all.signal()
	}
}

// remove takes the slot out of its list. The caller holds the lock.
func (t *slot) remove() {
	t.in.Remove(t.at)
	t.at = nil
}

func (s *slots) signal() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
