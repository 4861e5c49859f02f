//go:build !unix

package netx

import "syscall"

func rawRead(syscall.RawConn) readFunc { return nil }
