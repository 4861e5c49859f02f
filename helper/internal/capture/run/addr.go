//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	size4       = 16
	size6       = 28 // the kernel takes 24, without a scope
	minSize6    = 24
	maxSockaddr = 128
)

// destination is where a program wants to go.
type destination struct {
	netip.AddrPort        // unmapped, without zone
	mapped         bool   // IPv4 on an IPv6 socket
	family         uint16 // of the spelling
}

// parseSockaddr reads a struct sockaddr. ok is false if it is not an internet
// address, or too short for the kernel.
func parseSockaddr(b []byte) (d destination, ok bool) {
	if len(b) < 2 {
		return d, false
	}
	d.family = binary.NativeEndian.Uint16(b)
	switch {
	case d.family == unix.AF_INET && len(b) >= size4:
		d.AddrPort = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
		return d, true
	case d.family == unix.AF_INET6 && len(b) >= minSize6:
		a := netip.AddrFrom16([16]byte(b[8:24]))
		d.mapped = a.Is4In6()
		d.AddrPort = netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(b[2:]))
		return d, true
	}
	return d, false
}

// sockaddr encodes an address for a socket of family.
func sockaddr(family int, at netip.AddrPort) []byte {
	b := make([]byte, size4, size6)
	binary.BigEndian.PutUint16(b[2:], at.Port())
	if family == unix.AF_INET {
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		a := at.Addr().As4()
		copy(b[4:], a[:])
		return b
	}
	b = b[:size6]
	binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	a := at.Addr().As16()
	copy(b[8:], a[:])
	return b
}

// unixSockaddr is sockaddr for package unix.
func unixSockaddr(family int, at netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// addrPort is the address in sa, unmapped; the zero value if it has none.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// isLocal tells whether a destination is on this machine in every network: a
// loopback address, or the unspecified address, which leads to loopback.
func (d destination) isLocal() bool { return d.Addr().IsLoopback() || d.Addr().IsUnspecified() }
