//go:build linux && (amd64 || arm64)

package run

import (
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

// socket makes an internet socket in place of the program. If the tree may reach
// only the resources, the socket is bound to the loopback device, which a program
// cannot undo without privileges. So even if a program swaps the socket of a call
// that continues, the call leads only to this machine.
func (s *supervisor) socket(c *call) {
	family, kind, protocol := int(int32(c.n.args[0])), int(int32(c.n.args[1])), int(int32(c.n.args[2]))
	if !isCarried(kind&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK), protocol) {
		s.refuse(c)
		return
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if s.only {
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"); err != nil {
			c.fail(unix.EACCES)
			return
		}
	}
	if s.kept != nil {
		s.kept.add(fd) // before the program has it
	}
	give := func() (int, unix.Errno) { return c.install(fd, kind&unix.SOCK_CLOEXEC != 0) }
	if errno := c.q.sealed.given(c.t.process(), inodeOf(fd), give); errno != 0 {
		c.fail(errno)
	}
}

// isCarried tells whether sockets of a kind may be carried.
func isCarried(kind, protocol int) bool {
	switch kind {
	case unix.SOCK_STREAM:
		return protocol == 0 || protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP
	case unix.SOCK_DGRAM:
		return protocol == 0 || protocol == unix.IPPROTO_UDP
	}
	return false
}

// refuse answers a call for a kind of socket that is never carried.
func (s *supervisor) refuse(c *call) {
	if s.only {
		c.fail(unix.EACCES)
		return
	}
	c.pass()
}

// bind stops keeping a socket that the program binds to a port. Such a socket
// belongs to a server, and the port must be free when the server closes it.
func (s *supervisor) bind(c *call) {
	d, _, ok, err := c.destination(c.n.args[1], int(int32(c.n.args[2])))
	if err == nil && ok && d.Port() != 0 {
		ino := c.t.inode(c.fd())
		s.mu.Lock()
		_, connected := s.carried[ino]
		s.mu.Unlock()
		if !connected { // else the bind fails, and the socket stays what it is
			s.kept.drop(ino)
		}
	}
	c.pass()
}

// isInternet tells whether fd is a socket for IPv4 or IPv6.
func isInternet(fd int) bool {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && (family == unix.AF_INET || family == unix.AF_INET6)
}

// kindOf returns the network of a socket, 0 if such sockets are never carried.
func kindOf(fd int) tunnel.Network {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return 0
	}
	kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case kind == unix.SOCK_STREAM && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP):
		return tunnel.TCP
	case kind == unix.SOCK_DGRAM && protocol == unix.IPPROTO_UDP:
		return tunnel.UDP
	}
	return 0
}

const tcpClose = 7

// streamState is the state of a TCP socket, as in the kernel's tcp_states.h.
func streamState(fd int) byte {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return tcpClose // MPTCP: the kernel refuses what cannot be connected
	}
	return info.State
}

func isBlocking(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

func isMultipath(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && protocol == unix.IPPROTO_MPTCP
}

func inodeOf(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}
