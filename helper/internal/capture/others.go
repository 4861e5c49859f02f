package capture

import (
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/offer"
)

// Claim says how the resources of a capture cover a target, the closest way last.
type Claim int

// The claims.
const (
	NoClaim  Claim = iota
	ByDomain       // by a wildcard
	ByName         // by the name itself, or as a port of localhost
)

// Member is a capture, as the others of its process see it.
type Member interface {
	// Claims tells how the capture could serve host, in lower case and without trailing
	// dot. Port 0 stands for any port. The network dns is about the stub resolver, and
	// lookup about the name's addresses.
	Claims(network, host string, port uint16) Claim
	// Refresh serves what Place now leaves to the capture, and nothing else. It returns
	// when ports and hosts file are up to date.
	Refresh()
}

// Place is what a capture sees of the others of its process. Its methods return at once.
type Place interface {
	// Elsewhere tells whether another capture serves the target.
	Elsewhere(network, host string, port uint16) bool
	// Asleep tells whether the capture's session has had no link for some seconds, or
	// one that stands still.
	Asleep() bool
	// Changed says that the capture has other resources than before.
	Changed()
}

// Claims implements Member.
func (c *capture) Claims(network, host string, port uint16) Claim {
	set := c.offered.Load()
	has := func(list []*offer.Resource) bool {
		return slices.ContainsFunc(list, func(r *offer.Resource) bool { return r.Has(network, port) })
	}
	switch {
	case host == offer.Localhost:
		if has(set.Local()) {
			return ByName
		}
	case c.o.Sources.DNS == Off && (network == "dns" || c.o.Sources.Names == Off):
	case has(set.Exact(host)):
		return ByName
	case c.o.Sources.DNS != Off && has(set.Wildcards(host)):
		return ByDomain
	}
	return NoClaim
}

// Refresh implements Member. The others may call it before this capture has started.
func (c *capture) Refresh() {
	if c.started.Load() {
		c.names.Refresh()
	}
}

// elsewhere tells whether another capture serves a target.
func (c *capture) elsewhere(network, host string, port uint16) bool {
	return c.place != nil && c.place.Elsewhere(network, host, port)
}

// asleep tells whether the gateway will not answer soon.
func (c *capture) asleep() bool { return c.place != nil && c.place.Asleep() }

// asksHere tells whether the stub resolver of this capture answers about a name.
func (c *capture) asksHere(host string) bool {
	return c.hasName(host) && !c.elsewhere("dns", host, 0)
}
