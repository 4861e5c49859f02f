//go:build linux && (amd64 || arm64)

package run

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is the kernel's struct seccomp_notif.
type notification struct {
	id    uint64
	pid   uint32 // of the thread
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	errno int32 // negative
	flags uint32
}

// addition is struct seccomp_notif_addfd.
type addition struct {
	id       uint64
	flags    uint32
	src      uint32
	at       uint32
	newFlags uint32
}

func ioctl(fd int, request uint, arg unsafe.Pointer) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	return int(n), errno
}

// receive blocks until a call waits for its verdict.
func receive(listener int) (*call, unix.Errno) {
	c := &call{listener: listener}
	_, errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c.n))
	c.t = thread(c.n.pid)
	return c, errno
}

// call is a system call that waits. Exactly one of pass, fail, give and install
// answers it; each tells whether the program got the answer, which it does not
// if it was killed, or if a signal interrupted the call.
type call struct {
	listener int
	n        notification
	t        thread
	// then is done with the program's socket once it is connected, and gives the
	// result of the call; nil for nothing and 0.
	then func(app int) (int, error)
	// one is where the length of the message goes if the call is a sendmmsg that
	// is answered by one message; 0 otherwise.
	one uint64
}

func (c *call) fd() int { return int(int32(c.n.args[0])) }

func (c *call) send(r response) bool {
	r.id = c.n.id
	if c.one != 0 && r.errno == 0 && r.flags == 0 {
		c.writeLength(c.one, int(r.val))
		r.val = 1
	}
	_, errno := ioctl(c.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return errno == 0
}

// pass lets the kernel do the call.
func (c *call) pass() bool { return c.send(response{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}) }

// fail makes the call return errno, or 0 for none.
func (c *call) fail(errno unix.Errno) bool { return c.send(response{errno: -int32(errno)}) }

// give makes the call return val.
func (c *call) give(val int) bool { return c.send(response{val: int64(val)}) }

// install makes the call return a new descriptor of the socket fd.
func (c *call) install(fd int, closeOnExec bool) unix.Errno {
	a := addition{id: c.n.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, src: uint32(fd)}
	if closeOnExec {
		a.newFlags = unix.O_CLOEXEC
	}
	// A signal before the program has taken the descriptor would withdraw it, and
	// not the reply: the call would return 0. Go's scheduler sends signals.
	defer withoutSignals()()
	_, errno := ioctl(c.listener, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a))
	return errno
}

// withoutSignals keeps signals from the calling thread until end, which the same
// goroutine calls.
func withoutSignals() (end func()) {
	runtime.LockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before) // its arguments are right
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}
}

// waits tells whether the call still waits. What was read of its process
// belongs to another one unless it does.
func (c *call) waits() bool {
	id := c.n.id
	_, errno := ioctl(c.listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
	return errno == 0
}
