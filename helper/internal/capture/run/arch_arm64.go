//go:build linux

package run

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_AARCH64
	// foreignBit marks nothing: there is one ABI.
	foreignBit = 0x80000000
)
