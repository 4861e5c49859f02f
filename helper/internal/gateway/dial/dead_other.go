//go:build !linux && !darwin && !windows

package dial

import (
	"net"
	"syscall"
)

func progressOf(net.Conn) func() (progress, error) { return nil }

func setDeadLimit(string, string, syscall.RawConn) error { return nil }
