//go:build !linux

package owner

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

// table knows nothing on this system, so nobody is served.
type table struct{}

func (*table) tcp(_, _ netip.AddrPort, _ int, _ bool) (row, error) { return row{}, errUnknown() }
func (*table) udp(uint16) ([]row, error)                           { return nil, errUnknown() }
func (*table) echo(netip.Addr, uint16) (_, _ []row, err error)     { return nil, nil, errUnknown() }
func (*table) close() error                                        { return nil }

func errUnknown() error {
	return fmt.Errorf("cannot tell who connects on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Holders knows nothing on this system.
func Holders([]netip.AddrPort) (map[netip.AddrPort]Process, error) { return nil, errUnknown() }
