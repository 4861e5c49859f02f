// Package offer is the typed form of what the gateway publishes: which hosts, ports
// and protocols the capture may offer to the remote's programs. The capture parses a
// publication once, when it arrives. The package judges nothing: the gateway does.
package offer

import (
	"fmt"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// The networks of a publication.
const (
	TCP  = "tcp"
	UDP  = "udp"
	ICMP = "icmp"
)

// Resource is one published resource.
type Resource struct {
	Name      string          // of the resource; unique within its publication
	Host      nethost.Pattern // as the remote's programs spell it
	Ports     []Ports         // none for a resource of ICMP alone
	Networks  []string        // TCP, UDP, ICMP
	ByProgram bool            // only some programs may use it
}

// Ports is an inclusive range of ports as the remote's programs use them.
type Ports struct{ First, Last uint16 }

// Contains reports whether port lies in the range.
func (p Ports) Contains(port uint16) bool { return p.First <= port && port <= p.Last }

// Allows reports whether the resource lists a network.
func (r Resource) Allows(network string) bool { return slices.Contains(r.Networks, network) }

// Covers reports whether the resource lists a network and port. ICMP has no port.
func (r Resource) Covers(network string, port uint16) bool {
	return r.Allows(network) && (network == ICMP || slices.ContainsFunc(r.Ports, func(p Ports) bool { return p.Contains(port) }))
}

// Parse returns the resources of a publication, in their order. It leaves out a
// resource that it cannot read, and returns an error for each of these. A network or
// range of ports that it does not know is left out of its resource.
func Parse(published []peer.Published) (list []Resource, problems []error) {
	for _, p := range published {
		host, err := nethost.ParsePattern(p.Host)
		if err != nil {
			problems = append(problems, fmt.Errorf("read published resource %.80q: host %.80q: %w", p.Name, p.Host, err))
			continue
		}
		r := Resource{Name: p.Name, Host: host, ByProgram: p.ByProgram}
		for _, n := range p.Protocols {
			if (n == TCP || n == UDP || n == ICMP) && !r.Allows(n) {
				r.Networks = append(r.Networks, n)
			}
		}
		for _, ports := range p.Ports {
			if ports.First > 0 && ports.First <= ports.Last {
				r.Ports = append(r.Ports, Ports(ports))
			}
		}
		list = append(list, r)
	}
	return list, problems
}
