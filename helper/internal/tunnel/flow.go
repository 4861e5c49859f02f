package tunnel

import (
	"fmt"
	"net"
	"strconv"
)

// Network is what a flow carries.
type Network uint8

// The networks of a flow. The numbers are on the wire.
const (
	TCP    Network = 1 // a byte stream
	UDP    Network = 2 // datagrams to one host and port, boundaries kept
	Lookup Network = 3 // the addresses of Host, which the answer's reason holds, comma-separated
	DNS    Network = 4 // the records of Host of the type that Port holds; the answer's data is one DNS message
	Echo   Network = 5 // one ICMP echo request to Host; the data of either direction is what the packet carries
)

// String returns "tcp", "udp", "lookup", "dns" or "icmp".
func (n Network) String() string {
	switch n {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case Lookup:
		return "lookup"
	case DNS:
		return "dns"
	case Echo:
		return "icmp"
	default:
		return fmt.Sprintf("network(%d)", uint8(n))
	}
}

// Target is what one flow asks for, as the program on the remote spelled it.
type Target struct {
	Network Network
	Host    string // a name or an address without brackets; at most MaxHost bytes
	Port    uint16
}

// String returns "tcp host:port", or "icmp host".
func (t Target) String() string {
	if t.Network == Echo {
		return t.Network.String() + " " + t.Host
	}
	return t.Network.String() + " " + net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Origin is the program that asks, as far as the capture knows. The gateway shows it
// and never trusts it.
type Origin struct {
	Source  string // capture source: "names", "socks", "http"
	User    string
	PID     uint32
	Program string
}

// Request is the header of a flow.
type Request struct {
	Target Target
	Origin Origin
}

// Code is the gateway's answer to a request. The numbers are on the wire.
type Code uint8

// The answers.
const (
	Connected       Code = 0
	Denied          Code = 1  // policy
	Refused         Code = 2  // connection refused by the target
	HostUnreachable Code = 3  // no route to host
	NetUnreachable  Code = 4  // no route to network
	NoSuchName      Code = 5  // NXDOMAIN or no address
	ResolveFailed   Code = 6  // the resolver failed or timed out
	TimedOut        Code = 7  // the connection attempt timed out
	Overloaded      Code = 8  // too many flows or dials
	Failed          Code = 9  // anything else
	Reset           Code = 10 // after Connected only: the connection was reset
)

var codeNames = [...]string{"connected", "denied", "refused", "host unreachable", "network unreachable",
	"no such name", "name look-up failed", "timed out", "overloaded", "failed", "reset"}

// String returns the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Error is a Code other than Connected, with its reason. A Reason that came
// over the tunnel is escaped and at most MaxReason bytes long.
type Error struct {
	Code   Code
	Reason string
}

// Error returns code and reason in words.
func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Reason
}

// Is makes every tunnel reset match net.ErrClosed, as a reset socket's error would.
func (e *Error) Is(target error) bool {
	return e.Code == Reset && target == net.ErrClosed
}
