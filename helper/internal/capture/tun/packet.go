package tun

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// tuple is one flow, seen from the program that began it.
type tuple struct{ client, server netip.AddrPort }

// verdict is what the engine does with a packet from the device.
type verdict uint8

const (
	drop verdict = iota // none of the below: neighbour discovery, fragments of pings
	pass                // for the stack
	open                // asks for a connection
	echo                // an ICMP echo request; the client's port is its identifier
)

const (
	v4Header  = header.IPv4MinimumSize
	v6Header  = header.IPv6MinimumSize
	tcpHeader = header.TCPMinimumSize
	udpHeader = header.UDPMinimumSize
	// icmpHeader is the header size of an echo, the same for both versions.
	icmpHeader = header.ICMPv4MinimumSize
)

// echoTypes are the numbers of ICMP echoes, by whether they are IPv6's.
var echoTypes = map[bool]struct{ protocol, request, reply uint8 }{
	false: {uint8(header.ICMPv4ProtocolNumber), uint8(header.ICMPv4Echo), uint8(header.ICMPv4EchoReply)},
	true:  {uint8(header.ICMPv6ProtocolNumber), uint8(header.ICMPv6EchoRequest), uint8(header.ICMPv6EchoReply)},
}

// classify tells what a packet is. If its verdict is open or echo, its TCP or ICMP
// header begins at offset at.
func classify(b []byte) (v verdict, t tuple, at int) {
	var protocol uint8
	switch {
	case len(b) >= v4Header && b[0]>>4 == 4:
		at = int(b[0]&15) * 4
		protocol = b[9]
		t.client, t.server = addrPort(b[12:16]), addrPort(b[16:20])
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // a fragment
			at = len(b)
		}
	case len(b) >= v6Header && b[0]>>4 == 6:
		at = v6Header
		protocol = b[6]
		t.client, t.server = addrPort(b[8:24]), addrPort(b[24:40])
		if protocol == uint8(header.IPv6FragmentHeader) && len(b) > v6Header {
			at, protocol = len(b), b[v6Header]
		}
	}
	if ask := echoTypes[t.server.Addr().Is6()]; protocol == ask.protocol && len(b) >= at+icmpHeader && b[at] == ask.request && b[at+1] == 0 {
		t.client = netip.AddrPortFrom(t.client.Addr(), binary.BigEndian.Uint16(b[at+4:]))
		return echo, t, at
	}
	if protocol != uint8(header.TCPProtocolNumber) && protocol != uint8(header.UDPProtocolNumber) {
		return drop, t, 0
	}
	if protocol == uint8(header.UDPProtocolNumber) || len(b) < at+tcpHeader {
		return pass, t, 0
	}
	if header.TCPFlags(b[at+13])&(header.TCPFlagSyn|header.TCPFlagAck|header.TCPFlagRst) != header.TCPFlagSyn {
		return pass, t, 0
	}
	t.client = netip.AddrPortFrom(t.client.Addr(), binary.BigEndian.Uint16(b[at:]))
	t.server = netip.AddrPortFrom(t.server.Addr(), binary.BigEndian.Uint16(b[at+2:]))
	return open, t, at
}

func addrPort(b []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, 0)
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// appendIP writes the header of a packet of length bytes after it.
func appendIP(b []byte, from, to netip.Addr, protocol tcpip.TransportProtocolNumber, length int) []byte {
	if from.Is4() {
		h := header.IPv4(make([]byte, v4Header))
		h.Encode(&header.IPv4Fields{TotalLength: uint16(v4Header + length), TTL: 64, Protocol: uint8(protocol),
			SrcAddr: address(from), DstAddr: address(to)})
		h.SetChecksum(^h.CalculateChecksum())
		return append(b, h...)
	}
	h := header.IPv6(make([]byte, v6Header))
	h.Encode(&header.IPv6Fields{PayloadLength: uint16(length), TransportProtocol: protocol, HopLimit: 64,
		SrcAddr: address(from), DstAddr: address(to)})
	return append(b, h...)
}

// reset is the reset with which the server refuses the SYN at syn[at:], a packet of
// t.
func reset(t tuple, syn []byte, at int) []byte {
	from, to := t.server.Addr(), t.client.Addr()
	h := header.TCP(make([]byte, tcpHeader))
	h.Encode(&header.TCPFields{SrcPort: t.server.Port(), DstPort: t.client.Port(), DataOffset: tcpHeader,
		AckNum: binary.BigEndian.Uint32(syn[at+4:]) + 1, Flags: header.TCPFlagRst | header.TCPFlagAck})
	h.SetChecksum(^h.CalculateChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, address(from), address(to), tcpHeader)))
	return append(appendIP(nil, from, to, header.TCPProtocolNumber, tcpHeader), h...)
}

// reason is the ICMP code for why a target cannot be reached.
type reason struct {
	v4 header.ICMPv4Code
	v6 header.ICMPv6Code
}

var (
	noNetwork  = reason{header.ICMPv4NetUnreachable, header.ICMPv6NetworkUnreachable}
	noHost     = reason{header.ICMPv4HostUnreachable, header.ICMPv6AddressUnreachable}
	noPort     = reason{header.ICMPv4PortUnreachable, header.ICMPv6PortUnreachable}
	prohibited = reason{header.ICMPv4AdminProhibited, header.ICMPv6Prohibited}
)

// unreachable is the ICMP error about a packet of t that begins with quote: its
// IP header and at least 8 bytes after it.
func unreachable(t tuple, quote []byte, why reason) []byte {
	from, to := t.server.Addr(), t.client.Addr()
	length := header.ICMPv4MinimumSize + len(quote) // of ICMPv6 too
	if from.Is4() {
		h := header.ICMPv4(make([]byte, length))
		h.SetType(header.ICMPv4DstUnreachable)
		h.SetCode(why.v4)
		copy(h[header.ICMPv4MinimumSize:], quote)
		h.SetChecksum(^checksum.Checksum(h, 0))
		return append(appendIP(nil, from, to, header.ICMPv4ProtocolNumber, length), h...)
	}
	h := header.ICMPv6(make([]byte, length))
	h.SetType(header.ICMPv6DstUnreachable)
	h.SetCode(why.v6)
	copy(h[header.ICMPv6MinimumSize:], quote)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: address(from), Dst: address(to)}))
	return append(appendIP(nil, from, to, header.ICMPv6ProtocolNumber, length), h...)
}

// echoReply is the reply to an echo request of t, whose ICMP header asked begins
// with, that carries data.
func echoReply(t tuple, asked, data []byte) []byte {
	from, to := t.server.Addr(), t.client.Addr()
	kind := echoTypes[from.Is6()]
	h := append([]byte{kind.reply, 0, 0, 0}, asked[4:icmpHeader]...) // identifier and sequence as they were
	h = append(h, data...)
	sum := ^checksum.Checksum(h, 0)
	if from.Is6() {
		sum = header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: header.ICMPv6(h), Src: address(from), Dst: address(to)})
	}
	binary.BigEndian.PutUint16(h[2:], sum)
	return append(appendIP(nil, from, to, tcpip.TransportProtocolNumber(kind.protocol), len(h)), h...)
}

// datagram is the beginning of a datagram of t, for an ICMP error to repeat.
func datagram(t tuple) []byte {
	h := header.UDP(make([]byte, udpHeader))
	h.Encode(&header.UDPFields{SrcPort: t.client.Port(), DstPort: t.server.Port(), Length: udpHeader})
	return append(appendIP(nil, t.client.Addr(), t.server.Addr(), header.UDPProtocolNumber, udpHeader), h...)
}
