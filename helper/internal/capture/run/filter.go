//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data. On both architectures, the lower half of an
// argument comes first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

var (
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	notify = bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}
	refuse = refuseWith(unix.EACCES)
)

func refuseWith(errno unix.Errno) bpf.RetConstant {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

func low(arg uint32) bpf.LoadAbsolute  { return bpf.LoadAbsolute{Off: offArgs + 8*arg, Size: 4} }
func high(arg uint32) bpf.LoadAbsolute { return bpf.LoadAbsolute{Off: offArgs + 8*arg + 4, Size: 4} }

// ifGiven notifies if the pointer in arg is not nil.
func ifGiven(arg uint32) []bpf.Instruction {
	return []bpf.Instruction{
		low(arg), bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 2},
		high(arg), bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		notify, allow,
	}
}

// rule is the treatment of one system call. The code returns on every path.
type rule struct {
	number uint32
	code   []bpf.Instruction
}

// rules are the calls that choose a destination or report one.
func rules(o Options) []rule {
	always := []bpf.Instruction{notify}
	r := []rule{
		{unix.SYS_CONNECT, always},
		{unix.SYS_SENDTO, ifGiven(4)},
		{unix.SYS_SENDMSG, always},
		{unix.SYS_SENDMMSG, always},
		{unix.SYS_RECVFROM, ifGiven(4)},
		{unix.SYS_RECVMSG, always},
		{unix.SYS_RECVMMSG, always},
		{unix.SYS_GETPEERNAME, always},
		{unix.SYS_GETSOCKOPT, []bpf.Instruction{
			low(1), bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SOL_SOCKET, SkipTrue: 2},
			low(2), bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SO_ERROR, SkipTrue: 1},
			allow, notify,
		}},
	}
	if o.Keep {
		r = append(r, rule{unix.SYS_BIND, always}, rule{unix.SYS_LISTEN, always})
		// After these calls, the supervisor may no longer look into the process.
		for _, number := range []uint32{unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID,
			unix.SYS_SETRESGID, unix.SYS_SETFSUID, unix.SYS_SETFSGID} {
			r = append(r, rule{number, always})
		}
		r = append(r, rule{unix.SYS_PRCTL, []bpf.Instruction{
			low(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PR_SET_DUMPABLE, SkipTrue: 1}, allow, notify,
		}})
	}
	if !o.Only {
		if o.Keep {
			r = append(r, rule{unix.SYS_SOCKET, []bpf.Instruction{
				low(0),
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 2},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 1},
				allow, notify,
			}})
		}
		return r
	}
	noRing := []bpf.Instruction{refuseWith(unix.ENOSYS)}
	return append(r,
		rule{unix.SYS_SOCKET, []bpf.Instruction{
			low(0),
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipTrue: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 2},
			refuse, allow, notify,
		}},
		rule{unix.SYS_IO_URING_SETUP, noRing},
		rule{unix.SYS_IO_URING_ENTER, noRing},
		rule{unix.SYS_IO_URING_REGISTER, noRing},
	)
}

// program is the filter. Calls of another ABI than this program's pass. With Only,
// they fail as unknown calls.
func program(o Options) ([]bpf.RawInstruction, error) {
	foreign := allow
	if o.Only {
		foreign = refuseWith(unix.ENOSYS)
	}
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nativeArch, SkipTrue: 2},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: foreignBit, SkipTrue: 1},
		foreign,
	}
	for _, r := range rules(o) {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.number, SkipTrue: uint8(len(r.code))})
		code = append(code, r.code...)
	}
	return bpf.Assemble(append(code, allow))
}

// install puts the calling thread, and the program that it executes, under the
// filter. It returns the descriptor of the notifications.
func install(o Options) (int, error) {
	code, err := program(o)
	if err != nil {
		return -1, fmt.Errorf("assemble the seccomp filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("set no_new_privs: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// From Linux 5.19 on, signals do not interrupt a call that the supervisor has
	// received. The supervisor interrupts those that wait.
	errno := unix.EINVAL
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		var fd uintptr
		fd, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINVAL {
			break
		}
	}
	return -1, errno
}
