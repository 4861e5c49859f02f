package names

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// MaxListeners is how many ports are served in all.
const MaxListeners = 1024

// endpoint is one port of one published name.
type endpoint struct {
	host string
	port uint16
}

// plan is what is to be served.
type plan struct {
	endpoints []endpoint     // in the order of publication, at most MaxListeners
	over      map[string]int // how many ports of a host are beyond that
}

func makePlan(published []peer.Published) plan {
	p := plan{over: make(map[string]int)}
	seen := make(map[endpoint]bool)
	for _, r := range published {
		host, ok := exactName(r.Host)
		if !ok || !slices.Contains(r.Protocols, "tcp") {
			continue
		}
		for _, ports := range r.Ports {
			for port := max(1, int(ports.First)); port <= int(ports.Last); port++ {
				e := endpoint{host, uint16(port)}
				if seen[e] {
					continue
				}
				if len(p.endpoints) == MaxListeners {
					p.over[host] += int(ports.Last) - port + 1
					break
				}
				seen[e] = true
				p.endpoints = append(p.endpoints, e)
			}
		}
	}
	return p
}

// exactName returns host in lower case, and whether it is one name rather than
// a wildcard, an address or a CIDR.
func exactName(host string) (string, bool) {
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.ContainsAny(host, "*/:") {
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")), true
}

// addresses gives every name a loopback address of its own, the same in every
// run of this user, and never one that another name had in this session.
type addresses struct {
	uid   int
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
	for try := 0; ; try++ {
		h := digest("address", strconv.Itoa(a.uid), host, strconv.Itoa(try))
		addr := netip.AddrFrom4([4]byte{127, byte(h >> 16), byte(h >> 8), byte(h)})
		if usable(addr) && !a.taken[addr] {
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
