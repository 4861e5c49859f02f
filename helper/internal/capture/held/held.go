// Package held makes ports of loopback answer as the hosts behind them do: a
// connection is established once somebody has connected at the other end, and is
// refused if that was refused. A port is held by a listener whose queue is full,
// so the kernel drops every SYN. A packet socket shows each SYN to a Watcher,
// which asks its user, and then either opens the connection from the port's side
// (a simultaneous open, RFC 9293, section 3.5) or has the SYN refused. It takes
// CAP_NET_RAW to open the packet socket and to refuse, and nothing to connect.
//
// The package neither knows names nor decides anything. It is for IPv4 and Linux.
package held

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Reason is what a program is told of a target that nobody connected to.
type Reason string

// The reasons of a refusal.
const (
	Refused        Reason = "refused"    // by a reset; for UDP by ICMP: port unreachable
	HostUnreach    Reason = "host"       // by ICMP: host unreachable
	NetworkUnreach Reason = "network"    // by ICMP: network unreachable
	Prohibited     Reason = "prohibited" // by ICMP: administratively prohibited
)

// Of RFC 791, RFC 792 and RFC 9293. Sizes are in bytes, without options.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	ipHeader       = 20
	tcpHeader      = 20
	icmpHeader     = 8
	quoteSize      = ipHeader + 8 // what ICMP repeats of the packet it is about
	dstUnreachable = 3
	flagSYN        = 0x02
	flagsSetup     = 0x17 // FIN, SYN, RST and ACK
	flagsResetACK  = 0x14
)

// icmpCodes are the codes of ICMP's destination unreachable, RFC 792 and RFC 1812. That
// of Refused is for UDP.
var icmpCodes = map[Reason]byte{NetworkUnreach: 0, HostUnreach: 1, Refused: 3, Prohibited: 13}

// Refusal is the answer to one SYN, or to a datagram.
type Refusal struct {
	UDP    bool           `json:"udp,omitempty"`
	Client netip.AddrPort `json:"client"` // who sent it
	Server netip.AddrPort `json:"server"` // the held port
	Seq    uint32         `json:"seq"`    // of the SYN; 0 for UDP
	Why    Reason         `json:"why"`
}

// Check fails unless both ends are in 127.0.0.0/8, the server's outside
// 127.0.0.0/16, and the reason is known. A process with more rights than its
// caller calls it before it refuses on the caller's behalf.
func (r Refusal) Check() error {
	_, known := icmpCodes[r.Why]
	switch {
	case !r.Client.Addr().Is4() || !r.Client.Addr().IsLoopback() || r.Client.Port() == 0:
		return fmt.Errorf("check refusal: %s is no port of 127.0.0.0/8", r.Client)
	case !heldAddr(r.Server.Addr()) || r.Server.Port() == 0:
		return fmt.Errorf("check refusal: %s cannot be held", r.Server)
	case !known:
		return fmt.Errorf("check refusal: there is no reason %q", r.Why)
	}
	return nil
}

// heldAddr tells whether ports of a can be held: 127.0.0.0/16 is left to the
// programs of the machine.
func heldAddr(a netip.Addr) bool { return a.Is4() && a.IsLoopback() && a.As4()[1] != 0 }

// packet returns the IP packet that tells the client.
func (r Refusal) packet() []byte {
	if r.Why == Refused && !r.UDP {
		b := ip(r.Server.Addr(), r.Client.Addr(), protocolTCP, tcpHeader)
		return append(b, r.reset()...)
	}
	body := make([]byte, icmpHeader, icmpHeader+quoteSize)
	body[0], body[1] = dstUnreachable, icmpCodes[r.Why]
	body = append(body, r.quote()...)
	binary.BigEndian.PutUint16(body[2:], checksum(0, body))
	return append(ip(r.Server.Addr(), r.Client.Addr(), protocolICMP, len(body)), body...)
}

func (r Refusal) reset() []byte {
	h := make([]byte, tcpHeader)
	binary.BigEndian.PutUint16(h, r.Server.Port())
	binary.BigEndian.PutUint16(h[2:], r.Client.Port())
	binary.BigEndian.PutUint32(h[8:], r.Seq+1)
	h[12], h[13] = tcpHeader/4<<4, flagsResetACK
	from, to := r.Server.Addr().As4(), r.Client.Addr().As4()
	pseudo := append(append(from[:], to[:]...), 0, protocolTCP, 0, tcpHeader)
	binary.BigEndian.PutUint16(h[16:], checksum(sum(0, pseudo), h))
	return h
}

// quote is the beginning of the packet. The kernel compares addresses, ports and, of a
// SYN, the sequence number with those of the client's socket.
func (r Refusal) quote() []byte {
	protocol := byte(protocolTCP)
	if r.UDP {
		protocol = protocolUDP
	}
	b := ip(r.Client.Addr(), r.Server.Addr(), protocol, tcpHeader)
	b = binary.BigEndian.AppendUint16(b, r.Client.Port())
	b = binary.BigEndian.AppendUint16(b, r.Server.Port())
	return binary.BigEndian.AppendUint32(b, r.Seq)
}

// ip is the header of a packet with length bytes after it.
func ip(from, to netip.Addr, protocol byte, length int) []byte {
	h := make([]byte, ipHeader, ipHeader+length)
	h[0], h[8], h[9] = 4<<4|ipHeader/4, 64, protocol
	binary.BigEndian.PutUint16(h[2:], uint16(ipHeader+length))
	src, dst := from.As4(), to.As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	binary.BigEndian.PutUint16(h[10:], checksum(0, h))
	return h
}

// checksum is the Internet checksum (RFC 1071) of b, of even length, after what
// has been summed up.
func checksum(before uint32, b []byte) uint16 {
	s := sum(before, b)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func sum(s uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

var errNoSYN = errors.New("not a SYN to a port that can be held")

// parseSYN reads the IP packet b.
func parseSYN(b []byte) (r Refusal, err error) {
	if len(b) < ipHeader || b[0]>>4 != 4 || b[9] != protocolTCP {
		return r, errNoSYN
	}
	at := int(b[0]&15) * 4
	if at < ipHeader || len(b) < at+tcpHeader || b[at+13]&flagsSetup != flagSYN {
		return r, errNoSYN
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	r = Refusal{Client: netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[at:])),
		Server: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[at+2:])),
		Seq:    binary.BigEndian.Uint32(b[at+4:]), Why: Refused}
	if r.Check() != nil {
		return r, errNoSYN
	}
	return r, nil
}
