//go:build !linux

package kernelnet

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

// Table knows no sockets on this system.
type Table struct {
	ProcOnly bool // means nothing here
}

// FellBack tells nothing on this system.
func (*Table) FellBack() bool { return false }

// Close does nothing.
func (*Table) Close() error { return nil }

// TCP fails on this system.
func (*Table) TCP(_, _ netip.AddrPort, _ int, _ bool) (Socket, error) { return Socket{}, unsupported() }

// UDP fails on this system.
func (*Table) UDP(_, _ netip.AddrPort) (Socket, error) { return Socket{}, unsupported() }

// UDPPort fails on this system.
func (*Table) UDPPort(uint16) ([]Socket, error) { return nil, unsupported() }

// Echo fails on this system.
func (*Table) Echo(netip.Addr, uint16) (ping, raw []Socket, err error) {
	return nil, nil, unsupported()
}

// TCPSockets fails on this system.
func TCPSockets(func(Socket) bool) ([]Socket, error) { return nil, unsupported() }

// UDPSockets fails on this system.
func UDPSockets(func(Socket) bool) ([]Socket, error) { return nil, unsupported() }

// ResetFrom fails on this system.
func ResetFrom([]netip.Addr) error { return unsupported() }

// Routes fails on this system.
func Routes() ([]Route, error) { return nil, unsupported() }

// AddRoute fails on this system.
func AddRoute(Route) error { return unsupported() }

// RemoveRoute fails on this system.
func RemoveRoute(Route) error { return unsupported() }

// AddAddress fails on this system.
func AddAddress(int, netip.Addr) error { return unsupported() }

// WaitGone fails on this system.
func WaitGone(int, time.Duration) (bool, error) { return false, unsupported() }

func unsupported() error {
	return fmt.Errorf("read the socket table of %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
