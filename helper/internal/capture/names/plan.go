package names

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// MaxListeners is how many ports of exact names are served in all.
const MaxListeners = 1024

// Bounds of the names that wildcards cover.
const (
	maxLooked      = 1024 // names in a session
	maxLookedPorts = 128  // listeners of one of them
	maxLookedAll   = 2048 // listeners of all of them
)

// endpoint is one port of one name.
type endpoint struct {
	host string
	port uint16
	udp  bool
}

// plan is what is to be served.
type plan struct {
	endpoints []endpoint     // in the order of publication, then of look-up
	over      map[string]int // how many ports of a host are beyond the bounds
	seen      map[endpoint]bool
}

// makePlan plans for the exact names among published, and for looked, names
// that its wildcards cover.
func makePlan(published []peer.Published, looked []string) plan {
	p := plan{over: make(map[string]int), seen: make(map[endpoint]bool)}
	var exact []string
	for _, r := range published {
		if host, ok := exactName(r.Host); ok {
			exact = append(exact, host)
			p.add(host, r, MaxListeners)
		}
	}
	// A wildcard may list more ports of a name that has an entry of its own.
	p.addWildcards(exact, published, MaxListeners, MaxListeners)
	p.addWildcards(looked, published, maxLookedPorts, len(p.endpoints)+maxLookedAll)
	return p
}

func (p *plan) addWildcards(hosts []string, published []peer.Published, each, all int) {
	for _, host := range hosts {
		limit := min(all, len(p.endpoints)+each)
		for _, r := range published {
			if covers(r.Host, host) {
				p.add(host, r, limit)
			}
		}
	}
}

// add plans for host with the ports of r, until there are limit endpoints.
func (p *plan) add(host string, r peer.Published, limit int) {
	for _, protocol := range r.Protocols {
		if protocol != "tcp" && protocol != "udp" {
			continue
		}
		for _, ports := range r.Ports {
			for port := max(1, int(ports.First)); port <= int(ports.Last); port++ {
				e := endpoint{host, uint16(port), protocol == "udp"}
				if p.seen[e] {
					continue
				}
				if len(p.endpoints) >= limit {
					p.over[host] += int(ports.Last) - port + 1
					break
				}
				p.seen[e] = true
				p.endpoints = append(p.endpoints, e)
			}
		}
	}
}

// covers tells whether pattern is a wildcard that host belongs to.
func covers(pattern, host string) bool {
	domain, ok := strings.CutPrefix(pattern, "*.")
	return ok && strings.HasSuffix(host, "."+domain)
}

// exactName returns host in lower case, and whether it is one name rather than
// a wildcard, an address or a CIDR.
func exactName(host string) (string, bool) {
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.ContainsAny(host, "*/:") {
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")), true
}

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

func (a addresses) of(host string) netip.Addr {
	if addr, ok := a.names[host]; ok {
		return addr
	}
	if a.place != nil && !a.place.Names.IsValid() {
		return a.place.Shared
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

// usable leaves out 127.0/16, where systems put localhost, the machine's own
// name and DNS stubs, and what reads as a network or a broadcast.
func usable(a netip.Addr) bool {
	b := a.As4()
	return b[1] != 0 && b[3] != 0 && b[3] != 255
}

// Ports of 127.0.0.1 that stand in for e: below the ephemeral ones, the same in
// every run as long as they are free.
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
