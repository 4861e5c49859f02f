// Package peer states what the gateway and the capture tell each other inside
// the tunnel, on the one control stream that the gateway opens when the tunnel
// is up: JSON objects, one a line, at most MaxMessage bytes each. The capture
// is not trusted: the gateway only shows what it reports.
package peer

// MaxMessage bounds one message on the control stream, in bytes.
const MaxMessage = 1 << 20

// MaxArguments bounds the arguments of a program, in bytes.
const MaxArguments = 2 << 10

// ToCapture is a message of the gateway: one of the two.
type ToCapture struct {
	*Publish
	Ask *Ask `json:"ask,omitempty"`
}

// ToGateway is a message of the capture: one of the two.
type ToGateway struct {
	*Report
	Told *Told `json:"told,omitempty"`
}

// Ask asks for the arguments of a program that has a flow. The gateway sends it only
// to a capture whose Report has Asks set.
type Ask struct {
	ID      uint32 `json:"id"`
	PID     uint32 `json:"pid"`
	Program string `json:"program"` // the process must still run it
}

// Told answers an Ask. The capture may not answer, so the gateway waits only for a
// limited time.
type Told struct {
	ID        uint32 `json:"id"`
	Arguments string `json:"arguments"` // escaped; "" if they cannot be told
}

// Publish is everything that the capture may offer to the remote's programs. The
// gateway sends it first, and again whenever the approved set changes.
type Publish struct {
	Resources   []Published `json:"resources"`
	StrictProxy bool        `json:"strictProxy,omitempty"` // refuse at the proxy what is no resource
}

// Published is what the remote needs to know of one approved resource.
type Published struct {
	Name      string          `json:"name"`
	Host      string          `json:"host"` // exact name, "*.domain", address or CIDR, as the remote's programs spell it
	Ports     []PublishedPort `json:"ports"`
	Protocols []string        `json:"protocols"`           // "tcp", "udp"
	ByProgram bool            `json:"byProgram,omitempty"` // for some programs alone: without one in its origin a flow is refused
}

// PublishedPort is an inclusive range of ports as the remote's programs use them.
// Only the gateway knows the ports of the target.
type PublishedPort struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Report is the state of the capture after the last Publish. The capture sends it
// whenever it changes.
type Report struct {
	Proxy string       `json:"proxy,omitempty"` // host:port
	Names []NameReport `json:"names"`
	Notes []string     `json:"notes,omitempty"` // sentences for the user
	Asks  bool         `json:"asks,omitempty"`  // an Ask is understood
}

// NameReport tells how the remote's programs reach one published resource.
type NameReport struct {
	Name    string   `json:"name"`              // of the resource
	Address string   `json:"address,omitempty"` // IPv4 address it has on the remote
	Served  []string `json:"served"`            // "host:port" that works, "host:port/udp", "tun" if that goes by the device, or "proxy"
	Trouble string   `json:"trouble,omitempty"` // what is in the way, one sentence
}
