package names

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// table is what is served now.
type table struct {
	addrs map[string]netip.Addr
	six   map[string]netip.Addr // of those in addrs that have one
	names map[netip.Addr]string
}

// Errors of Address.
var (
	ErrNotCovered = errors.New("no published resource has that name")
	ErrTooMany    = errors.New("too many names were looked up")
)

// Address returns the IPv4 address that name, in lower case and without
// trailing dot, is served at. A name that only a wildcard covers gets its
// listeners with the first call. Within the life of s no other name has the
// same address, even when this one is not served any more.
func (s *Source) Address(name string) (netip.Addr, error) {
	if a, ok := s.served.Load().addrs[name]; ok {
		return a, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.served.Load().addrs[name]; ok {
		return a, nil
	}
	switch {
	case s.closed || !s.covered(name):
		return netip.Addr{}, fmt.Errorf("address of %s: %w", name, ErrNotCovered)
	case slices.Contains(s.looked, name):
		return netip.Addr{}, s.whyNot(name)
	case len(s.looked) >= maxLooked:
		return netip.Addr{}, fmt.Errorf("address of %s: %w", name, ErrTooMany)
	}
	s.looked = append(s.looked, name)
	s.reconcile()
	if a, ok := s.served.Load().addrs[name]; ok {
		return a, nil
	}
	return netip.Addr{}, s.whyNot(name)
}

// Address6 is Address for IPv6; the zero Addr if names have no such addresses now.
func (s *Source) Address6(name string) (netip.Addr, error) {
	if !s.numbers.leads() {
		return netip.Addr{}, nil
	}
	if _, err := s.Address(name); err != nil {
		return netip.Addr{}, err
	}
	return s.served.Load().six[name], nil
}

// whyNot says why a name has no listener. The caller holds s.mu.
func (s *Source) whyNot(name string) error {
	for e, p := range s.problems {
		if e.host == name {
			return fmt.Errorf("address of %s: %w", name, p.err)
		}
	}
	return fmt.Errorf("address of %s: %w", name, ErrTooMany)
}

// NameOf returns the name that is served at a, if any.
func (s *Source) NameOf(a netip.Addr) (string, bool) {
	name, ok := s.served.Load().names[a]
	return name, ok
}

// SpareAddress returns a loopback address that no name gets, the same in every
// run of this user for the same n.
func (s *Source) SpareAddress(n int) netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs.of("." + strconv.Itoa(n)) // no host is called that
}

// FoundByDNS tells s whether programs ask a stub resolver that calls Address.
// Then names get their own addresses without the hosts file too.
func (s *Source) FoundByDNS(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDNS != yes && !s.closed {
		s.byDNS = yes
		s.reconcile()
	}
}

// covered tells whether a wildcard has name. The caller holds s.mu.
func (s *Source) covered(name string) bool {
	for _, p := range s.published {
		if covers(p.Host, name) {
			return true
		}
	}
	return false
}

// updateServed takes over which names have a listener, or lead to the device.
// The caller holds s.mu.
func (s *Source) updateServed() {
	t := &table{addrs: make(map[string]netip.Addr), six: make(map[string]netip.Addr), names: make(map[netip.Addr]string)}
	for e, l := range s.listeners {
		if l.named {
			t.addrs[e.host] = l.at.Addr()
			if !s.shares() {
				t.names[l.at.Addr()] = e.host
			}
		}
	}
	for host, at := range s.led {
		t.addrs[host], t.names[at.v4] = at.v4, host
		if at.v6.IsValid() {
			t.six[host], t.names[at.v6] = at.v6, host
		}
	}
	s.served.Store(t)
}
