// Package kernelnet asks the kernel of this machine about its network: the table
// of sockets, which tells whose a connection is, and routes and addresses. It ends
// connections and changes routes if it is asked to. It knows nothing of what the
// answers are for: who may connect, and what may be routed, its callers decide.
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

// ErrGone means that no socket has the addresses, or that the one that had them is
// closed: the table may still show it, as root's.
var ErrGone = errors.New("the connecting socket is gone")

// Socket is one row of a socket table, as its owner sees it.
type Socket struct {
	Local, Remote netip.AddrPort // IPv4 is unmapped, zones are removed
	State         uint8
	UID           uint32
	Inode         uint32 // 0: no process has the socket any more
}

// Route is a route of this machine that packets take by their destination alone.
type Route struct {
	Prefix   netip.Prefix
	Device   int          // index of the device, 0 if there are several or none
	Via      []netip.Addr // next hops; several if the route has several ways
	Local    bool         // it leads to this machine itself
	Protocol uint8        // who has made it, one of RTPROT_*
}

// PeerUID tells which user made the socket at the other end of c, a TCP connection
// that was accepted on loopback. The error wraps ErrGone if that end is closed.
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

// Unmap returns a as the tables of this package have it: IPv4 out of IPv6, and no zone.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
