//go:build linux && (amd64 || arm64)

package run

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// meetTime bounds a handshake on loopback, in milliseconds.
const meetTime = 5000

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
	// datagrams4 is where our UDP sockets are: in 127.0.0.0/16, nobody may refuse a
	// datagram on behalf of another user (held.Refusal).
	datagrams4 = netip.AddrFrom4([4]byte{127, 255, 255, 254})
)

// rendezvous is a place on loopback at which a program's stream socket meets
// one of ours.
type rendezvous struct {
	fd     int // listens
	family int // of the program's socket
	at     netip.AddrPort
	shared bool
}

// place opens a socket of a kind at a loopback address that app, the program's
// socket, can reach. It also returns app's family.
func place(app int, mapped bool, kind int, prepare func(fd int) error) (fd, family int, at netip.AddrPort, err error) {
	family, err = unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return -1, 0, at, err
	}
	v4 := loopback4
	if kind == unix.SOCK_DGRAM {
		v4 = datagrams4
	}
	addrs := []netip.Addr{v4}
	if family == unix.AF_INET6 && !mapped {
		addrs = []netip.Addr{loopback6}
		if only, err := unix.GetsockoptInt(app, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil && only == 0 {
			addrs = append(addrs, v4) // for machines without ::1
		}
	}
	for _, addr := range addrs {
		own := ownFamily(netip.AddrPortFrom(addr, 0))
		if fd, err = unix.Socket(own, kind|unix.SOCK_CLOEXEC, 0); err != nil {
			continue
		}
		if err = prepare(fd); err == nil {
			err = unix.Bind(fd, unixSockaddr(own, netip.AddrPortFrom(addr, 0)))
		}
		var name unix.Sockaddr
		if err == nil {
			name, err = unix.Getsockname(fd)
		}
		if err == nil {
			return fd, family, addrPort(name), nil
		}
		_ = unix.Close(fd)
	}
	return -1, family, at, err
}

// open makes a rendezvous for one connection.
func open(app int, mapped bool) (*rendezvous, error) {
	fd, family, at, err := place(app, mapped, unix.SOCK_STREAM, func(int) error { return nil })
	if err == nil {
		if err = unix.Listen(fd, 8); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return nil, err
	}
	return &rendezvous{fd: fd, family: family, at: at}, nil
}

// openSilent makes a rendezvous that does not answer, since its queue is full. A
// socket that connects to it stays connecting until meet. It serves any number of
// sockets of a family.
func openSilent(app int, mapped bool) (*rendezvous, error) {
	fd, family, at, err := place(app, mapped, unix.SOCK_STREAM, reusePort)
	if err != nil {
		return nil, err
	}
	filler := -1
	if err = unix.Listen(fd, 0); err == nil { // a backlog of 0 has room for one
		own := ownFamily(at)
		if filler, err = unix.Socket(own, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = connectTo(filler, own, at)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		_ = unix.Close(filler)
		return nil, fmt.Errorf("make a place to wait at: %w", err)
	}
	return &rendezvous{fd: fd, family: family, at: at, shared: true}, nil
}

func ownFamily(at netip.AddrPort) int {
	if at.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// close ends a rendezvous unless others use it too.
func (r *rendezvous) close() {
	if !r.shared {
		_ = unix.Close(r.fd)
	}
}

// connect connects app to the rendezvous. A socket in non-blocking mode gives
// EINPROGRESS.
func (r *rendezvous) connect(app int) error { return connectTo(app, r.family, r.at) }

func connectTo(app, family int, at netip.AddrPort) error {
	for {
		err := unix.Connect(app, unixSockaddr(family, at))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// accept returns our end of app's connection. It closes connections of other
// sockets.
func (r *rendezvous) accept(app int) (int, error) {
	name, err := unix.Getsockname(app)
	if err != nil {
		return -1, err
	}
	want := addrPort(name)
	for {
		if err := waitFor(r.fd, unix.POLLIN, meetTime); err != nil {
			return -1, err
		}
		fd, from, err := unix.Accept4(r.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return -1, err
		}
		if addrPort(from) == want {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
}

// meet completes the connection of app, which connects to a silent rendezvous, by
// connecting to app from our side. TCP permits such a simultaneous open. app is
// connected at that moment, without waiting for a retransmission.
func (r *rendezvous) meet(app int) (int, error) {
	name, err := unix.Getsockname(app)
	if err != nil {
		return -1, err
	}
	own := ownFamily(r.at)
	fd, err := unix.Socket(own, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = reusePort(fd); err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: meetTime / 1000})
	}
	if err == nil {
		err = unix.Bind(fd, unixSockaddr(own, r.at))
	}
	if err == nil {
		err = connectTo(fd, own, addrPort(name))
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("meet the program's socket: %w", err)
	}
	return fd, nil
}

// abandon ends the connecting state of app. A program that waits wakes up, as after
// a refusal. The kernel's error is ECONNRESET.
func abandon(app int) {
	_ = connectAs(app, make([]byte, size4)) // AF_UNSPEC
}

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
