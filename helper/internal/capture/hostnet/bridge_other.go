//go:build !linux

package hostnet

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
)

func takeRange() (*os.File, netip.Prefix, error) {
	return nil, netip.Prefix{}, errors.ErrUnsupported
}

func changeRange(netip.Prefix, bool) error { return errors.ErrUnsupported }

func sweepRanges() {}

// BindTo is for Linux.
func BindTo(string) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return errors.ErrUnsupported }
}
