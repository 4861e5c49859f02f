//go:build !linux && !darwin

package ping

import (
	"net"
	"net/netip"
)

const ownsID = true

// open fails: this system has no such sockets.
func open(netip.Addr) (net.Conn, error) { return nil, errNoSocket }
