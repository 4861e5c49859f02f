//go:build !linux

package owner

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

// finder knows nothing on this system.
type finder struct{}

func (*finder) find(uint32, int, bool) int { return 0 }

// Arguments knows nothing on this system.
func Arguments(int, string, int) string { return "" }

func program(int) string { return "" }

// Holders knows nothing on this system.
func Holders(bool, []netip.AddrPort) (map[netip.AddrPort]Process, error) {
	return nil, fmt.Errorf("find who listens on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
