package names

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
)

// table has the names that are served now. It is safe for concurrent use.
type table struct {
	mu    sync.RWMutex
	addrs map[string]netip.Addr
	six   map[string]netip.Addr // of the names in addrs that have an IPv6 address
	names map[netip.Addr]string
	local map[endpoint]bool // ports of localhost that have listeners
}

func newTable() *table {
	return &table{addrs: make(map[string]netip.Addr), six: make(map[string]netip.Addr), names: make(map[netip.Addr]string), local: make(map[endpoint]bool)}
}

// add adds host at the address of its listener. A listener at 127.0.0.1 that stands
// in for the name does not count.
func (t *table) add(host string, l *listener, shared bool) {
	if !l.named {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addrs[host] = l.at.Addr()
	if !shared {
		t.names[l.at.Addr()] = host
	}
}

// lead adds host at the addresses that lead to the device.
func (t *table) lead(host string, at led) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addrs[host], t.names[at.v4] = at.v4, host
	if at.v6.IsValid() {
		t.six[host], t.names[at.v6] = at.v6, host
	}
}

// remove removes host.
func (t *table) remove(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range []netip.Addr{t.addrs[host], t.six[host]} {
		if t.names[a] == host {
			delete(t.names, a)
		}
	}
	delete(t.addrs, host)
	delete(t.six, host)
}

// of returns the addresses of host; v4 is not valid if it is not served.
func (t *table) of(host string) (v4, v6 netip.Addr) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.addrs[host], t.six[host]
}

// at returns the name that is served at a.
func (t *table) at(a netip.Addr) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	name, ok := t.names[a]
	return name, ok
}

// Errors of Address.
var (
	ErrNotCovered = errors.New("no published resource has that name")
	ErrTooMany    = errors.New("too many names below wildcards are in use")
)

// Address returns the IPv4 address at which name is served; name is in lower case and
// without trailing dot. The first call for a name that only a wildcard covers creates
// its listeners. As long as the name may be in use, no other name gets the same
// address: see Options.Idle.
func (s *Source) Address(name string) (netip.Addr, error) {
	s.recent.touch(name)
	if a, _ := s.served.Load().of(name); a.IsValid() {
		return a, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, _ := s.served.Load().of(name); a.IsValid() {
		return a, nil
	}
	switch {
	case s.closed || len(s.set.Wildcards(name)) == 0:
		return netip.Addr{}, fmt.Errorf("address of %s: %w", name, ErrNotCovered)
	case s.lookedSet[name]:
		return netip.Addr{}, s.whyNot(name)
	case s.full() && !s.makeRoom():
		return netip.Addr{}, fmt.Errorf("address of %s: %w", name, ErrTooMany)
	}
	s.look(name)
	if a, _ := s.served.Load().of(name); a.IsValid() {
		return a, nil
	}
	return netip.Addr{}, s.whyNot(name)
}

// Address6 is Address for IPv6. It returns the zero Addr if names have no IPv6
// addresses now.
func (s *Source) Address6(name string) (netip.Addr, error) {
	if !s.numbers.leads() {
		return netip.Addr{}, nil
	}
	if _, err := s.Address(name); err != nil {
		return netip.Addr{}, err
	}
	_, six := s.served.Load().of(name)
	return six, nil
}

// whyNot says why a name has no listener. The caller holds s.mu.
func (s *Source) whyNot(name string) error {
	for _, e := range s.plan.of[name] {
		if p := s.problems[e]; p != nil {
			return fmt.Errorf("address of %s: %w", name, p.err)
		}
	}
	return fmt.Errorf("address of %s: %w", name, ErrTooMany)
}

// NameOf returns the name that is served at a, if any.
func (s *Source) NameOf(a netip.Addr) (string, bool) { return s.served.Load().at(a) }

// SpareAddress returns a loopback address that no name gets. For the same user and n
// it is the same in every run.
func (s *Source) SpareAddress(n int) netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs.of("." + strconv.Itoa(n)) // no host has such a name
}

// FoundByDNS tells s whether programs ask a stub resolver that calls Address. If so,
// names have their own addresses even without the hosts file.
func (s *Source) FoundByDNS(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDNS != yes && !s.closed {
		s.byDNS = yes
		s.reconcile()
	}
}

// updateServed makes a new table of the names that have a listener or lead to the
// device. The caller holds s.mu.
func (s *Source) updateServed() {
	t := newTable()
	for e, l := range s.listeners {
		if e.local() {
			t.local[e] = true
			continue
		}
		t.add(e.host, l, s.shares())
	}
	for host, at := range s.led {
		t.lead(host, at)
	}
	s.served.Store(t)
}
