package names

import (
	"slices"
	"sync"
	"time"
)

// recent tells when names that wildcards cover were last looked up or used. It is
// safe for concurrent use.
type recent struct {
	mu sync.Mutex
	at map[string]time.Time
}

// add begins to follow a name.
func (r *recent) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = make(map[string]time.Time)
	}
	r.at[name] = time.Now()
}

// touch notes a look-up or a use of a name, if it is followed.
func (r *recent) touch(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.at[name]; ok {
		r.at[name] = time.Now()
	}
}

func (r *recent) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.at, name)
}

// oldest returns the name that was idle for the longest time, if that is idle or
// more.
func (r *recent) oldest(idle time.Duration) (name string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	least := time.Now().Add(-idle)
	for n, at := range r.at {
		if !at.After(least) {
			name, least, ok = n, at, true
		}
	}
	return name, ok
}

// full tells whether one more looked-up name needs the place of another one. The
// caller holds s.mu.
func (s *Source) full() bool {
	return len(s.looked) >= maxLooked || s.plan.looked >= maxLookedAll && !s.numbers.leads()
}

// makeRoom gives up the looked-up name that was idle for the longest time. It
// returns false if no name was idle for long enough: programs may still use its
// address. The caller holds s.mu.
func (s *Source) makeRoom() bool {
	name, ok := s.recent.oldest(s.o.Idle)
	if !ok {
		return false
	}
	s.looked = slices.DeleteFunc(s.looked, func(n string) bool { return n == name })
	delete(s.lookedSet, name)
	delete(s.led, name)
	s.recent.remove(name)
	for _, e := range s.plan.of[name] {
		if l := s.listeners[e]; l != nil {
			_ = l.Close()
		}
		delete(s.listeners, e)
		delete(s.problems, e)
	}
	s.plan.forget(name)
	s.served.Load().remove(name)
	s.numbers.free(name)
	return true
}
