//go:build linux || darwin

package ping

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// open returns a ping socket that is connected to to.
func open(to netip.Addr) (net.Conn, error) {
	family, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16(), Port: 1}
	if to.Is4() {
		family, protocol = unix.AF_INET, unix.IPPROTO_ICMP
		at = &unix.SockaddrInet4{Addr: to.As4(), Port: 1}
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, protocol)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return nil, errNoSocket
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer file.Close()
	if err := tellErrors(fd, to.Is6()); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Connect(fd, at); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("setnonblock", err)
	}
	return net.FileConn(file)
}
