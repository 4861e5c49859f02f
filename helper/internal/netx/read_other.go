//go:build !unix

package netx

import "syscall"

func rawRead(syscall.RawConn) func() (*[BufferSize]byte, int, error) { return nil }
