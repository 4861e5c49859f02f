//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestForeignCalls runs the filter on calls of other ABIs, which not every kernel
// has, but any may have.
func TestForeignCalls(t *testing.T) {
	calls := []struct {
		name   string
		arch   uint32
		number uint32
	}{
		{"i386 socketcall", unix.AUDIT_ARCH_I386, 102}, {"i386 socket", unix.AUDIT_ARCH_I386, 359}, {"i386 connect", unix.AUDIT_ARCH_I386, 362},
		{"i386 sendto", unix.AUDIT_ARCH_I386, 369}, {"i386 getpid", unix.AUDIT_ARCH_I386, 20}, {"arm connect", unix.AUDIT_ARCH_ARM, 283},
		{"x32 socket", unix.AUDIT_ARCH_X86_64, 0x40000000 | 41}, {"x32 connect", unix.AUDIT_ARCH_X86_64, 0x40000000 | 42},
		{"x32 sendmsg", unix.AUDIT_ARCH_X86_64, 0x40000000 | 518},
	}
	noSuchCall := unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	for only, want := range map[bool]uint32{true: noSuchCall, false: unix.SECCOMP_RET_ALLOW} {
		raw, err := program(Options{Only: only})
		if err != nil {
			t.Fatal(err)
		}
		code, _ := bpf.Disassemble(raw)
		vm, err := bpf.NewVM(code)
		if err != nil {
			t.Fatal(err)
		}
		verdict := func(arch, number uint32) uint32 {
			data := make([]byte, 64) // in the byte order of the machine that is simulated
			binary.BigEndian.PutUint32(data[offNumber:], number)
			binary.BigEndian.PutUint32(data[offArch:], arch)
			n, err := vm.Run(data)
			if err != nil {
				t.Fatal(err)
			}
			return uint32(n)
		}
		for _, c := range calls {
			if got := verdict(c.arch, c.number); got != want {
				t.Errorf("only=%v, %s: %#x, want %#x", only, c.name, got, want)
			}
		}
		if got := verdict(nativeArch, unix.SYS_CONNECT); got != unix.SECCOMP_RET_USER_NOTIF {
			t.Errorf("only=%v, connect: %#x", only, got)
		}
		for _, ring := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER} {
			if got := verdict(nativeArch, ring); got != want {
				t.Errorf("only=%v, call %d of io_uring: %#x, want %#x", only, ring, got, want)
			}
		}
	}
}
