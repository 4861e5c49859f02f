package names

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/offer"
)

// MaxListeners is how many ports of exact names are served in all.
const MaxListeners = 1024

// Bounds of the names that wildcards cover.
const (
	maxLooked      = 2560 // names at a time
	maxLookedPorts = 128  // listeners of one of them
	maxLookedAll   = 2048 // listeners of all of them
)

// endpoint is one port of one name.
type endpoint struct {
	host string
	port uint16
	udp  bool
}

// plan has the ports that are to be served.
type plan struct {
	of   map[string][]endpoint // by host
	over map[string]int        // how many ports of a host are beyond the bounds
	// looked is how many of the endpoints are of names that wildcards cover.
	looked int
}

// endpoints returns all endpoints of the hosts, in their order.
func (p *plan) endpoints(hosts ...[]string) (all []endpoint) {
	for _, some := range hosts {
		for _, host := range some {
			all = append(all, p.of[host]...)
		}
	}
	return all
}

// makePlan plans for the exact names of set, and for looked, names that its wildcards
// cover. Each exact name gets its own ports first, and then the ports that a wildcard
// adds to it. If there are too many ports, the names share the listeners: a wide
// range leaves the other names their ports.
func makePlan(set *offer.Set, looked []string) *plan {
	p := &plan{of: make(map[string][]endpoint), over: make(map[string]int)}
	exact := set.Names()
	own, more := make([]ports, len(exact)), make([]ports, len(exact))
	for i, host := range exact {
		own[i] = portsOf(set.Exact(host))
		if wildcards := set.Wildcards(host); len(wildcards) > 0 {
			more[i] = portsOf(append(slices.Clip(set.Exact(host)), wildcards...))
		}
	}
	left := p.share(exact, own, MaxListeners)
	p.share(exact, more, left)
	for _, host := range looked {
		p.look(set, host)
	}
	return p
}

// look plans for one more name that wildcards of set cover.
func (p *plan) look(set *offer.Set, host string) {
	all := portsOf(set.Wildcards(host))
	p.add(host, all, min(maxLookedPorts, maxLookedAll-p.looked))
	p.looked += len(p.of[host])
}

// forget takes a name out that look has planned for.
func (p *plan) forget(host string) {
	p.looked -= len(p.of[host])
	delete(p.of, host)
	delete(p.over, host)
}

// share plans for hosts with their ports, for at most budget endpoints in all. It
// returns how much of the budget is left.
func (p *plan) share(hosts []string, all []ports, budget int) int {
	least := make([]int, len(hosts)) // sorted by how many ports each host lacks
	for i := range least {
		least[i] = i
	}
	lacks := func(i int) int { return max(0, all[i].count()-len(p.of[hosts[i]])) }
	slices.SortStableFunc(least, func(a, b int) int { return cmp.Compare(lacks(a), lacks(b)) })
	for n, i := range least {
		lack := lacks(i)
		part := min(lack, budget/(len(hosts)-n))
		if lack > 0 {
			p.add(hosts[i], all[i], part)
		}
		budget -= part
	}
	return budget
}

// add plans for at most limit more ports of host, out of all.
func (p *plan) add(host string, all ports, limit int) {
	had := p.of[host]
	seen := make(map[endpoint]bool, len(had))
	for _, e := range had {
		seen[e] = true
	}
	added := 0
	for _, udp := range []bool{false, true} {
		for _, r := range all.of(udp) {
			for port := int(r.First); port <= int(r.Last) && added < limit; port++ {
				if e := (endpoint{host, uint16(port), udp}); !seen[e] {
					p.of[host] = append(p.of[host], e)
					added++
				}
			}
		}
	}
	delete(p.over, host)
	if n := all.count() - len(p.of[host]); n > 0 {
		p.over[host] = n
	}
}

// ports has the ports of several resources.
type ports struct{ tcp, udp []offer.Range }

func portsOf(resources []*offer.Resource) (p ports) {
	for _, r := range resources {
		if r.TCP {
			p.tcp = append(p.tcp, r.Ports...)
		}
		if r.UDP {
			p.udp = append(p.udp, r.Ports...)
		}
	}
	p.tcp, p.udp = offer.Merge(p.tcp), offer.Merge(p.udp)
	return p
}

func (p ports) of(udp bool) []offer.Range {
	if udp {
		return p.udp
	}
	return p.tcp
}

func (p ports) count() int { return offer.Count(p.tcp) + offer.Count(p.udp) }

// maxAddresses bounds how many names get an address in a session. A name keeps its
// address after it is gone, since programs may still use it.
const maxAddresses = 1 << 15

// errNoAddress is why a name is not served when every address has been given.
var errNoAddress = errors.New("no address is left: too many names were served in this session")

// addresses gives every name an address of its own, the same in every
// run of this user, and never one that another name had in this session.
type addresses struct {
	uid   int
	place *Place // nil: loopback
	names map[string]netip.Addr
	taken map[netip.Addr]bool
}

func newAddresses(uid int) addresses {
	return addresses{uid: uid, names: make(map[string]netip.Addr), taken: make(map[netip.Addr]bool)}
}

// of returns the address of host, or the zero Addr if none is left.
func (a addresses) of(host string) netip.Addr {
	if addr, ok := a.names[host]; ok {
		return addr
	}
	if a.place != nil && !a.place.Names.IsValid() {
		return a.place.Shared
	}
	// At least an eighth of the addresses stays free, so that the loop below needs
	// eight tries on average at most.
	if len(a.names) >= a.most() {
		return netip.Addr{}
	}
	for try := 0; ; try++ {
		h := digest("address", strconv.Itoa(a.uid), host, strconv.Itoa(try))
		addr := netip.AddrFrom4([4]byte{127, byte(h >> 16), byte(h >> 8), byte(h)})
		if a.place != nil {
			addr = a.place.of(h)
		}
		if (a.place != nil || usable(addr)) && !a.taken[addr] {
			a.names[host], a.taken[addr] = addr, true
			return addr
		}
	}
}

// most returns how many names get an address.
func (a addresses) most() int {
	if a.place == nil {
		return maxAddresses
	}
	return min(maxAddresses, a.place.size()-a.place.size()/8)
}

// usable excludes 127.0.0.0/16, where systems put localhost, the machine's own name
// and DNS stubs. It also excludes addresses that look like a network or a broadcast.
func usable(a netip.Addr) bool {
	b := a.As4()
	return b[1] != 0 && b[3] != 0 && b[3] != 255
}

// These ports of 127.0.0.1 stand in for endpoints. They are below the ephemeral
// ports, and the same in every run as long as they are free.
const (
	firstLocal = 20000
	localPorts = 12000
	localTries = 32
)

func localPort(uid int, e endpoint, try int) uint16 {
	h := digest("port", strconv.Itoa(uid), e.host, strconv.Itoa(int(e.port)), strconv.Itoa(try))
	return uint16(firstLocal + h%localPorts)
}

func digest(parts ...string) uint64 {
	sum := sha256.Sum256([]byte("causeway\x00" + strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:])
}
