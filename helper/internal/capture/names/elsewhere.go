package names

import (
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/offer"
)

// elsewhereNote tells of a port or a name that Options.Elsewhere is about.
const elsewhereNote = "served by another window or laptop that connected earlier; this one takes over when the other ends or loses its link"

// Refresh serves what Options.Elsewhere now leaves to s, and nothing else. It returns
// when ports and hosts file are as Report says.
func (s *Source) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.reconcile()
	}
}

// here returns those of the endpoints that no other Source serves.
func (s *Source) here(all []endpoint) []endpoint {
	if s.o.Elsewhere == nil {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), s.portElsewhere)
}

func (s *Source) portElsewhere(e endpoint) bool {
	network := offer.TCP
	if e.udp {
		network = offer.UDP
	}
	return s.o.Elsewhere != nil && s.o.Elsewhere(network, e.host, e.port)
}

// isElsewhere tells whether programs get the addresses of host from another Source.
func (s *Source) isElsewhere(host string) bool {
	return s.o.Elsewhere != nil && s.o.Elsewhere("lookup", host, 0)
}
