//go:build !linux && !darwin

package ping

import (
	"net"
	"net/netip"
)

const ownsID = true

// open has no such socket here.
func open(netip.Addr) (net.Conn, error) { return nil, errNoSocket }
