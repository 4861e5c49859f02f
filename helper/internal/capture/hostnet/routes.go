package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// MaxRoutes bounds the routes of one request.
const MaxRoutes = 1024

// maxLocal bounds how many networks of this host's own a report names.
const maxLocal = 8

// RouteReport is what became of one route.
type RouteReport struct {
	Prefix netip.Prefix `json:"prefix"`
	// Refused says why there is no route; "" if there is one.
	Refused string `json:"refused,omitempty"`
	// Local are networks within Prefix that this host has routes of its own to,
	// which go on to lead there; at most a few of them.
	Local []netip.Prefix `json:"local,omitempty"`
}

// Device is a TUN device as its reader has to know it.
type Device struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	MTU   int    `json:"mtu"`
	// Addresses are the ones that this host has on it, one of each family that works.
	Addresses []netip.Addr `json:"addresses"`
}

// has tells whether the device carries the family of a.
func (d *Device) has(a netip.Addr) bool {
	return slices.ContainsFunc(d.Addresses, func(own netip.Addr) bool { return own.Is4() == a.Is4() })
}

// checkRoutes refuses what is no list of routes at all; what may not be routed
// is judged one by one.
func checkRoutes(prefixes []netip.Prefix) error {
	if len(prefixes) > MaxRoutes {
		return fmt.Errorf("%d routes: at most %d are allowed", len(prefixes), MaxRoutes)
	}
	seen := make(map[netip.Prefix]bool, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
			return fmt.Errorf("%q is no prefix", p)
		}
		if seen[p] {
			return fmt.Errorf("%s is there twice", p)
		}
		seen[p] = true
	}
	return nil
}

// special are the addresses that no route of ours may touch.
var special = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/96"), "loopback"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 within IPv6"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// metadata are addresses at which clouds serve their machines.
var metadata = []netip.Addr{
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("fd00:ec2::254"),
}

// ownRoute is a route of this host that is not of our device.
type ownRoute struct {
	prefix netip.Prefix
	via    []netip.Addr // the next hops; more than one of a route by several ways
	local  bool         // of an address of this host
	twin   bool         // to another device of Causeway's
}

// guarded is an address that has to stay reachable as it is.
type guarded struct {
	addr netip.Addr
	what string
}

// surroundings are what a decision about routes depends on.
type surroundings struct {
	routes  []ownRoute
	guarded []guarded
}

// judge tells what of this host's own stays out of a route to p, or why there
// may be none.
func (s surroundings) judge(p netip.Prefix) (local []netip.Prefix, err error) {
	if p.Bits() == 0 {
		return nil, errors.New("it would take everything that this machine sends, the editor's connection too; name the networks that are meant")
	}
	for _, sp := range special {
		if p.Overlaps(sp.prefix) {
			return nil, fmt.Errorf("it takes in %s (%s)", sp.prefix, sp.what)
		}
	}
	for _, r := range s.routes {
		switch {
		case r.prefix == p && r.local:
			return nil, errors.New("it is an address of this machine")
		case r.prefix == p && r.twin:
			return nil, errors.New("another window or user of this machine has a route to it")
		case r.prefix == p:
			return nil, errors.New("this machine has a network of the same addresses, which goes first")
		case !r.local && p.Bits() < r.prefix.Bits() && p.Contains(r.prefix.Addr()) && !slices.Contains(local, r.prefix):
			local = append(local, r.prefix)
		}
	}
	for _, g := range s.guarded {
		if p.Contains(g.addr) && p.Bits() >= s.best(g.addr) {
			return nil, fmt.Errorf("it takes in %s, %s; leave that address out", g.addr, g.what)
		}
	}
	slices.SortFunc(local, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return local[:min(len(local), maxLocal)], nil
}

// best is how many bits of a this host's own routes tell apart.
func (s surroundings) best(a netip.Addr) int {
	bits := 0
	for _, r := range s.routes {
		if r.prefix.Contains(a) {
			bits = max(bits, r.prefix.Bits())
		}
	}
	return bits
}

// hops are the next hops of this host's own routes.
func (s surroundings) hops() (all []guarded) {
	for _, r := range s.routes {
		for _, via := range r.via {
			if !via.IsUnspecified() {
				all = append(all, guarded{via, "a next hop of this machine's own routes"})
			}
		}
	}
	return all
}

// tunnel is the device of this process, and the routes to it. The device itself
// belongs to whom its descriptor was passed to, and its routes go with it.
type tunnel struct {
	device *Device // nil without one
	routes map[netip.Prefix]bool
}

// setRoutes makes prefixes the whole of what leads to the device, as far as it may.
func (t *tunnel) setRoutes(prefixes []netip.Prefix, survey func(*Device) (surroundings, error), change func(d *Device, add bool, p netip.Prefix) error) ([]RouteReport, error) {
	if t.device == nil {
		return nil, errors.New("there is no device")
	}
	if err := checkRoutes(prefixes); err != nil {
		return nil, fmt.Errorf("check request: %w", err)
	}
	s, err := survey(t.device)
	if err != nil {
		return nil, err
	}
	reports := make([]RouteReport, len(prefixes))
	wanted := make(map[netip.Prefix]bool, len(prefixes))
	for i, p := range prefixes {
		local, err := s.judge(p)
		if err == nil && !t.device.has(p.Addr()) {
			err = errors.New("IPv6 is off on this machine")
		}
		reports[i] = RouteReport{Prefix: p, Local: local}
		if err != nil {
			reports[i] = RouteReport{Prefix: p, Refused: err.Error()}
			continue
		}
		wanted[p] = true
	}
	for p := range t.routes {
		if !wanted[p] {
			if err := change(t.device, false, p); err != nil {
				return nil, fmt.Errorf("remove route to %s: %w", p, err)
			}
			delete(t.routes, p)
		}
	}
	for i, p := range prefixes {
		if !wanted[p] || t.routes[p] {
			continue
		}
		if err := change(t.device, true, p); err != nil {
			reports[i] = RouteReport{Prefix: p, Refused: "the system refuses the route: " + err.Error()}
			continue
		}
		t.routes[p] = true
	}
	return reports, nil
}
