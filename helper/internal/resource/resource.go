// Package resource is the model of the setting causeway.resources: its entries, their
// normal form, and which entry a target belongs to. It reads no files, resolves no names
// and approves nothing.
package resource

import (
	"net/netip"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
)

// Network is the protocol of a target.
type Network string

// The networks a resource can allow.
const (
	TCP  Network = "tcp"
	UDP  Network = "udp"
	ICMP Network = "icmp" // echo requests only
)

// Resource is one validated entry of the settings. Its JSON form is the normal spelling
// of the entry, so equal resources have equal JSON.
type Resource struct {
	Name        string          // unique within its list; defaults to As or Host, and "localhost:PORT" if OnLocalhost
	Host        nethost.Pattern // what to reach
	Ports       []Ports         // sorted by First; at least one, except for a resource of ICMP only, which has none
	Protocols   []Network       // sorted, defaults to tcp
	Addresses   []netip.Prefix  // the addresses that the name may resolve to; empty: see gateway/judge
	As          string          // the name that the remote uses for it; empty: Host itself
	Exit        string          // a name of causeway.exits, or the result of Via; empty: the machine's own network
	Resolve     string          // ByExit: the exit resolves the name, and no address is judged; empty: the gateway resolves it
	Programs    []string        // the programs that may use it, sorted; empty: every program. See Admits
	Description string
}

// Admits reports whether a program may use r. The program is the base name of its
// executable, or "" if it is not known. The remote reports the name, so this protects
// against mistakes and not against an attacker.
func (r Resource) Admits(program string) bool {
	return len(r.Programs) == 0 || slices.Contains(r.Programs, program)
}

// ByExit is the value of Resource.Resolve for an exit that resolves names.
const ByExit = "exit"

// RemoteName returns the exact name that programs on the remote use for r, or "" if r
// stands for many hosts, or for an address without As.
func (r Resource) RemoteName() string {
	if r.As != "" {
		return r.As
	}
	if r.Host.Kind == nethost.Name && !r.Host.IsLocalhost() {
		return r.Host.Name
	}
	return ""
}

// OnLocalhost reports whether the remote's own localhost leads to r, at the ports of r.
// Several resources can share that name.
func (r Resource) OnLocalhost() bool { return r.As == nethost.Localhost }

// RemoteHost returns the host of r as programs on the remote spell it: RemoteName, or
// else the wildcard, address or CIDR.
func (r Resource) RemoteHost() string {
	if name := r.RemoteName(); name != "" {
		return name
	}
	return r.Host.String()
}

// PortStrings returns the ports in their normal spelling: "5432", "8000-8010",
// "15432:5432".
func (r Resource) PortStrings() []string { return stringsOf(r.Ports) }

// AddressStrings returns Addresses in their normal spelling.
func (r Resource) AddressStrings() []string { return stringsOf(r.Addresses) }

// ProtocolStrings returns Protocols as strings.
func (r Resource) ProtocolStrings() []string {
	out := make([]string, len(r.Protocols))
	for i, n := range r.Protocols {
		out[i] = string(n)
	}
	return out
}

func stringsOf[T interface{ String() string }](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.String()
	}
	return out
}

// pingOnly reports whether protocols is ICMP only, which has no ports.
func pingOnly(protocols []Network) bool { return len(protocols) == 1 && protocols[0] == ICMP }

func (r Resource) allows(n Network) bool { return slices.Contains(r.Protocols, n) }

// Problem is one mistake in a list of resources, for a person to read.
type Problem struct {
	Path    string `json:"path"`             // as in "resources[2].ports[0]"
	Line    int    `json:"line,omitempty"`   // from 1; 0 when the source has no text positions
	Column  int    `json:"column,omitempty"` // from 1
	Message string `json:"message"`          // one sentence: what is wrong and what would be right
}
