// Package resource is the model of what a user allows the remote to reach:
// the entries of causeway.resources, their normal form, and which of them a
// target belongs to. It reads no files, resolves no names and approves nothing.
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
	ICMP Network = "icmp" // echo requests, and nothing else of it
)

// Resource is one validated entry of the settings. Its JSON form is the normal
// spelling of a settings entry, so two equal resources have equal JSON: what
// was approved is compared by it.
type Resource struct {
	Name        string          // unique within its list; defaults to As or Host
	Host        nethost.Pattern // what to reach
	Ports       []Ports         // sorted by First; at least one, but for a resource of ICMP alone, which has none
	Protocols   []Network       // sorted, defaults to tcp
	Addresses   []netip.Prefix  // what the name may resolve to; empty: see the gateway's policy
	As          string          // the name that the remote uses for it; empty: Host itself
	Exit        string          // how the gateway reaches it, a name of causeway.exits, or what Via made of it; empty: as the machine itself does
	Resolve     string          // ByExit: the exit resolves the name, and its addresses are not judged; empty: the gateway does
	Programs    []string        // whose connections it takes, sorted; empty: every program's. See Admits
	Description string
}

// Admits tells whether r takes connections of a program, by the base name of its
// executable; "" is one that is not known. The name is what the remote says: this
// keeps other programs of the user from a resource by mistake, not on purpose.
func (r Resource) Admits(program string) bool {
	return len(r.Programs) == 0 || slices.Contains(r.Programs, program)
}

// ByExit is the value of Resource.Resolve for an exit that resolves names.
const ByExit = "exit"

// RemoteName is the exact name that programs on the remote use for r, or "" if
// r stands for more than one host or for a bare address without As.
func (r Resource) RemoteName() string {
	if r.As != "" {
		return r.As
	}
	if r.Host.Kind == nethost.Name && !r.Host.IsLocalhost() {
		return r.Host.Name
	}
	return ""
}

// RemoteHost is how programs on the remote spell the host of r: RemoteName if
// there is one, else the wildcard, address or CIDR.
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

// pingOnly tells whether protocols have no use for ports.
func pingOnly(protocols []Network) bool { return len(protocols) == 1 && protocols[0] == ICMP }

func (r Resource) allows(n Network) bool { return slices.Contains(r.Protocols, n) }

// Problem is one mistake in a list of resources, for a person to read.
type Problem struct {
	Path    string `json:"path"`             // as in "resources[2].ports[0]"
	Line    int    `json:"line,omitempty"`   // from 1; 0 when the source has no text positions
	Column  int    `json:"column,omitempty"` // from 1
	Message string `json:"message"`          // one sentence: what is wrong and what would be right
}
