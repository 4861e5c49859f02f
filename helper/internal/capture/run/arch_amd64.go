//go:build linux

package run

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_X86_64
	// foreignBit marks the system calls of the x32 ABI.
	foreignBit = 0x40000000
)
