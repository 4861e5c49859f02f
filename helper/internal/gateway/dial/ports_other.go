//go:build !linux

package dial

import "net"

// keepsErrors tells that an open socket hears of ICMP errors.
const keepsErrors = false

func keepErrors(*net.UDPConn) error { return nil }

func dropErrors(*net.UDPConn) {}
