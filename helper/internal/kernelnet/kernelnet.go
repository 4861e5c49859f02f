// Package kernelnet asks the kernel of this machine about its network: the table of
// sockets, which tells whose a connection is, and routes and addresses. It also ends
// connections and changes routes. Its callers decide who may connect and what may be
// routed.
//
// It works on Linux. Elsewhere each call returns an error that wraps
// errors.ErrUnsupported.
package kernelnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// States of a TCP socket, as in the kernel's net/tcp_states.h.
const (
	Established = 1
	SynSent     = 2
	FinWait1    = 4
	FinWait2    = 5
	CloseWait   = 8
	LastAck     = 9
	Listen      = 10
	Closing     = 11
)

// LoopbackIndex is the index of the loopback device in every network namespace.
const LoopbackIndex = 1

// ErrGone means that no open socket has the addresses. The table can still show a
// closed socket, with uid 0.
var ErrGone = errors.New("the connecting socket is gone")

// Socket is one row of a socket table, with the addresses as its owner sees them.
type Socket struct {
	Local, Remote netip.AddrPort // IPv4 is unmapped, zones are removed
	State         uint8
	UID           uint32
	Inode         uint32 // 0: no process has the socket any more
}

// Route is a route of this machine that depends on the destination of packets only.
type Route struct {
	Prefix   netip.Prefix
	Device   int          // index of the device, 0 if there are several or none
	Via      []netip.Addr // next hops; several if the route has several ways
	Local    bool         // it leads to this machine itself
	Protocol uint8        // who has made it, one of RTPROT_*
}

// PeerUID returns the user who opened the socket at the other end of c, a TCP
// connection that was accepted on loopback. The error wraps ErrGone if that end is
// closed.
func PeerUID(c net.Conn) (int, error) {
	var t Table
	defer t.Close()
	s, err := t.Peer(c)
	if err != nil {
		return 0, err
	}
	return int(s.UID), nil
}

// Peer returns the socket at the other end of c, a TCP connection that was accepted
// on loopback. The error wraps ErrGone if that end is closed.
func (t *Table) Peer(c net.Conn) (Socket, error) {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	remote, rok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !rok {
		return Socket{}, fmt.Errorf("find the socket of %v: not a TCP connection", c.RemoteAddr())
	}
	s, err := t.TCP(Unmap(remote.AddrPort()), Unmap(local.AddrPort()), LoopbackIndex, false)
	if err == nil && s.Inode == 0 {
		err = ErrGone
	}
	if err != nil {
		return Socket{}, fmt.Errorf("find the socket of %s: %w", remote, err)
	}
	return s, nil
}

// Unmap returns a in the form that this package uses: without a zone, and IPv4 in
// place of IPv4-mapped IPv6.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
