package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// MaxRoutes bounds the routes of one request.
const MaxRoutes = 1024

const (
	// maxLocal bounds how many networks of this host's own a report names, and how
	// many addresses.
	maxLocal = 8
	// maxParts bounds the routes that one prefix becomes. An address that is left out
	// of 10.0.0.0/8 makes 24 of it.
	maxParts = 512
	// maxInstalled bounds the routes of a device.
	maxInstalled = 4096
)

// RouteReport tells the result for one requested route.
type RouteReport struct {
	Prefix netip.Prefix `json:"prefix"`
	// Refused says why there is no route; "" if there is one.
	Refused string `json:"refused,omitempty"`
	// Local are networks within Prefix to which this host has its own routes, which
	// stay in use; at most maxLocal of them.
	Local []netip.Prefix `json:"local,omitempty"`
	// Around are addresses within Prefix that the routes leave out, each with the
	// reason; at most maxLocal of them.
	Around []string `json:"around,omitempty"`
}

// Device describes a TUN device to the process that reads it.
type Device struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	MTU   int    `json:"mtu"`
	// Addresses are this host's addresses on the device, one of each family that
	// works.
	Addresses []netip.Addr `json:"addresses"`
	// Names are routed to the device as long as it exists.
	Names Ranges `json:"names"`
}

// Ranges are addresses that are routed to a device and stand for names there, except
// the first ones of each range. They have the same size for every device.
type Ranges struct {
	V4 netip.Prefix `json:"v4"` // zero: there are none
	V6 netip.Prefix `json:"v6"` // zero: there are none of IPv6
}

// RangeBits is the number of low bits of an address in Ranges that tell names apart.
const RangeBits = 12

// At returns the address of each family that has that number.
func (r Ranges) At(n uint16) (v4, v6 netip.Addr) {
	if r.V4.IsValid() {
		b := r.V4.Addr().As4()
		b[2], b[3] = b[2]|byte(n>>8), byte(n)
		v4 = netip.AddrFrom4(b)
	}
	if r.V6.IsValid() {
		b := r.V6.Addr().As16()
		b[14], b[15] = byte(n>>8), byte(n)
		v6 = netip.AddrFrom16(b)
	}
	return v4, v6
}

// Number returns the number of a in r, if a is in it.
func (r Ranges) Number(a netip.Addr) (uint16, bool) {
	b := a.AsSlice()
	if len(b) < 4 {
		return 0, false
	}
	n := (uint16(b[len(b)-2])<<8 | uint16(b[len(b)-1])) & (1<<RangeBits - 1)
	v4, v6 := r.At(n)
	return n, a == v4 || a == v6
}

// contain tells whether p is within r.
func (r Ranges) contain(p netip.Prefix) bool {
	for _, own := range []netip.Prefix{r.V4, r.V6} {
		if own.IsValid() && own.Bits() <= p.Bits() && own.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// Our devices have their addresses in devices4 and devices6. devices4 is reserved
// for measurements, so networks do not use it. devices6 is a random prefix of RFC
// 4193.
var (
	devices4 = netip.MustParsePrefix("198.18.0.0/15")
	devices6 = netip.MustParsePrefix("fdc5:7a0e:93d1::/48")
)

func onDevice(a netip.Addr) bool { return devices4.Contains(a) || devices6.Contains(a) }

// freeRanges returns the first ranges that no route of this host overlaps, that
// contain no guarded address, and for which claim succeeds. It begins at the end of
// devices4, since other users of that network, our bridges too, begin at its start.
// So most hosts get the same ranges.
func (s surroundings) freeRanges(claim func(v4 netip.Prefix) bool) (Ranges, bool) {
	for n := range 32 {
		at := byte(31 - n)
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + at>>4, at << 4, 0}), 32-RangeBits)
		b := devices6.Addr().As16()
		b[6], b[7] = 18+at>>4, at<<4
		v6 := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		if s.isFree(v4) && s.isFree(v6) && claim(v4) {
			return Ranges{v4, v6}, true
		}
	}
	return Ranges{}, false
}

// isFree tells whether p overlaps no route but default routes and contains no
// guarded address.
func (s surroundings) isFree(p netip.Prefix) bool {
	for _, r := range s.routes {
		if r.prefix.Bits() > 0 && r.prefix.Overlaps(p) {
			return false
		}
	}
	_, err := s.judge(p)
	return err == nil && len(s.within(p)) == 0
}

// has tells whether the device has an address of a's family.
func (d *Device) has(a netip.Addr) bool {
	return slices.ContainsFunc(d.Addresses, func(own netip.Addr) bool { return own.Is4() == a.Is4() })
}

// checkRoutes refuses a list that is malformed. plan judges its prefixes one by one.
func checkRoutes(prefixes []netip.Prefix) error {
	if len(prefixes) > MaxRoutes {
		return fmt.Errorf("%d routes: at most %d are allowed", len(prefixes), MaxRoutes)
	}
	seen := make(map[netip.Prefix]bool, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
			return fmt.Errorf("%q is not a prefix", p)
		}
		if seen[p] {
			return fmt.Errorf("%s is there twice", p)
		}
		seen[p] = true
	}
	return nil
}

// special are the networks that our routes must not overlap.
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

// metadata are the addresses of clouds' metadata services.
var metadata = []netip.Addr{
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("fd00:ec2::254"),
}

// ownRoute is a route of this host that does not lead to our device.
type ownRoute struct {
	prefix netip.Prefix
	via    []netip.Addr // the next hops; more than one of a route by several ways
	local  bool         // of an address of this host
	twin   bool         // to another device of Causeway's
}

// guarded is an address that this host needs, so that our routes must leave it out.
type guarded struct {
	addr netip.Addr
	what string
}

// surroundings are the facts about this host on which decisions about routes depend.
type surroundings struct {
	routes  []ownRoute
	guarded []guarded
}

// judge returns this host's own networks within p, which stay in use, or an error
// that says why there must be no route to p.
func (s surroundings) judge(p netip.Prefix) (local []netip.Prefix, err error) {
	if p.Bits() == 0 {
		return nil, errors.New("it would carry all traffic of this machine, also the editor's connection; name the networks that you need")
	}
	for _, sp := range special {
		if p.Overlaps(sp.prefix) {
			return nil, fmt.Errorf("it contains %s (%s)", sp.prefix, sp.what)
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
	slices.SortFunc(local, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return local[:min(len(local), maxLocal)], nil
}

// within lists the guarded addresses that a route to p would take from this host's
// own routes.
func (s surroundings) within(p netip.Prefix) (all []guarded) {
	for _, g := range s.guarded {
		if p.Contains(g.addr) && p.Bits() >= s.best(g.addr) {
			all = append(all, g)
		}
	}
	return all
}

// around returns the prefixes that make up p without the guarded addresses in it. It
// leaves out prefixes to which this host has a route of its own.
func (s surroundings) around(p netip.Prefix) (parts []netip.Prefix, out []guarded, err error) {
	if out = s.within(p); len(out) == 0 {
		return []netip.Prefix{p}, nil, nil
	}
	if p.IsSingleIP() {
		return nil, nil, fmt.Errorf("%s is %s", out[0].addr, out[0].what)
	}
	var split func(p netip.Prefix)
	split = func(p netip.Prefix) {
		has := slices.ContainsFunc(out, func(g guarded) bool { return p.Contains(g.addr) })
		switch {
		case len(parts) > maxParts:
		case has && !p.IsSingleIP():
			low, high := halves(p)
			split(low)
			split(high)
		case !has && !slices.ContainsFunc(s.routes, func(r ownRoute) bool { return r.prefix == p }):
			parts = append(parts, p)
		}
	}
	split(p)
	if len(parts) > maxParts {
		return nil, nil, fmt.Errorf("it contains %d addresses that this machine needs, such as %s, %s; name smaller networks",
			len(out), out[0].addr, out[0].what)
	}
	if len(parts) == 0 {
		return nil, nil, fmt.Errorf("this machine needs all of its addresses, such as %s, %s", out[0].addr, out[0].what)
	}
	return parts, out, nil
}

// halves returns the two prefixes that make up p, which is no single address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(a, p.Bits()+1)
}

// best is the prefix length of the most specific own route to a.
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

// tunnel is the device of this process, and the routes to it. The process that
// received the descriptor owns the device. The routes disappear with the device.
type tunnel struct {
	device *Device // nil without one
	routes map[netip.Prefix]bool
}

// setRoutes replaces the routes to the device by routes to prefixes, except those
// that it refuses.
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
	for _, own := range []netip.Prefix{t.device.Names.V4, t.device.Names.V6} {
		if own.IsValid() {
			s.routes = append(s.routes, ownRoute{prefix: own})
		}
	}
	reports := make([]RouteReport, len(prefixes))
	parts := make([][]netip.Prefix, len(prefixes)) // by report; nil of one that is refused
	wanted := make(map[netip.Prefix]bool, len(prefixes))
	for i, p := range prefixes {
		parts[i], reports[i] = t.plan(s, p)
		if len(wanted)+len(parts[i]) > maxInstalled {
			parts[i], reports[i] = nil, RouteReport{Prefix: p, Refused: fmt.Sprintf("more than %d routes would lead to the device", maxInstalled)}
		}
		for _, part := range parts[i] {
			wanted[part] = true
		}
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
		for _, part := range parts[i] {
			if t.routes[part] {
				continue
			}
			if err := change(t.device, true, part); err != nil {
				reports[i] = RouteReport{Prefix: p, Refused: "the system refuses the route: " + err.Error()}
				break
			}
			t.routes[part] = true
		}
	}
	return reports, nil
}

// plan returns the routes by which p is served, and the report on it.
func (t *tunnel) plan(s surroundings, p netip.Prefix) ([]netip.Prefix, RouteReport) {
	local, err := s.judge(p)
	if err == nil && !t.device.has(p.Addr()) {
		err = errors.New("IPv6 is off on this machine")
	}
	if err == nil && t.device.Names.contain(p) {
		err = errors.New("its addresses stand for names on this machine")
	}
	var parts []netip.Prefix
	var out []guarded
	if err == nil {
		parts, out, err = s.around(p)
	}
	if err != nil {
		return nil, RouteReport{Prefix: p, Refused: err.Error()}
	}
	r := RouteReport{Prefix: p, Local: local}
	for _, g := range out[:min(len(out), maxLocal)] {
		r.Around = append(r.Around, g.addr.String()+", "+g.what)
	}
	return parts, r
}
