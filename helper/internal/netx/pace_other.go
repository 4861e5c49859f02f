//go:build !linux

package netx

import "net"

// Unpace does nothing: this system paces no TCP by itself.
func Unpace(net.Conn) {}

func unpaceLocal(net.Conn) {}
