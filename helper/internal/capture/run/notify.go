//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
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

// queue holds the calls of a tree that wait for a verdict. The filter's descriptor
// stays open as long as this process lives.
type queue struct {
	file    *os.File
	raw     syscall.RawConn
	fd      int
	waiting atomic.Int64 // calls that are looked at regularly
	sealed  *sealed
}

// newQueue returns the queue of a filter and takes ownership of its descriptor. The
// runtime's poller waits for calls. A thread that waits in the kernel would keep the
// processor from other goroutines until the runtime takes it back.
func newQueue(listener int) (*queue, error) {
	if err := unix.SetNonblock(listener, true); err != nil { // for the poller; the ioctl ignores it
		return nil, fmt.Errorf("wait for calls: %w", err)
	}
	file := os.NewFile(uintptr(listener), "calls")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("wait for calls: %w", err)
	}
	// The program's thread waits for this process anyway, so its processor may run it.
	// Until this process has received a call, a signal interrupts it. Linux before 6.6
	// refuses the flag.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return &queue{file: file, raw: raw, fd: listener, sealed: &sealed{}}, nil
}

// each takes calls one after another. It returns when no process is under the filter
// any more. Before it takes a call, it calls ready. Then it calls take with the
// call, or with nil if the calling thread was killed meanwhile.
func (q *queue) each(ready func(), take func(*call)) error {
	var failed error
	err := q.raw.Read(func(uintptr) bool {
		for {
			fds := []unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}}
			switch n, err := unix.Poll(fds, 0); {
			case err == unix.EINTR:
				continue
			case err != nil:
				failed = err
				return true
			case n == 0:
				return false
			case fds[0].Revents&unix.POLLIN == 0:
				return true
			}
			ready()
			c := &call{q: q}
			_, errno := ioctl(q.fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c.n))
			c.t = thread{int(c.n.pid), q.sealed}
			switch errno {
			case 0:
			case unix.EINTR, unix.ENOENT:
				c = nil
			default:
				failed = errno
				c = nil
			}
			take(c)
			if failed != nil {
				return true
			}
		}
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("wait for calls: %w", err)
	}
	return nil
}

// call is a system call that waits. Exactly one of pass, fail, give and install
// answers it. Each tells whether the program got the answer. It does not if it was
// killed, or if a signal interrupted the call.
type call struct {
	q *queue
	n notification
	t thread
	// then is called with the program's socket once it is connected, and returns the
	// result of the call. nil means 0.
	then func(app int) (int, error)
	// one is the address for the message's length if the call is a sendmmsg that
	// sends one message; else 0.
	one uint64
}

func (c *call) fd() int { return int(int32(c.n.args[0])) }

func (c *call) send(r response) bool {
	r.id = c.n.id
	if c.one != 0 && r.errno == 0 && r.flags == 0 {
		c.writeLength(c.one, int(r.val))
		r.val = 1
	}
	_, errno := ioctl(c.q.fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return errno == 0
}

// pass makes the kernel continue the call.
func (c *call) pass() bool { return c.send(response{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}) }

// fail makes the call return errno, or 0 for none.
func (c *call) fail(errno unix.Errno) bool { return c.send(response{errno: -int32(errno)}) }

// give makes the call return val.
func (c *call) give(val int) bool { return c.send(response{val: int64(val)}) }

// install makes the call return a new descriptor of the socket fd.
func (c *call) install(fd int, closeOnExec bool) (int, unix.Errno) {
	a := addition{id: c.n.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, src: uint32(fd)}
	if closeOnExec {
		a.newFlags = unix.O_CLOEXEC
	}
	// A signal before the program has taken the descriptor would withdraw the
	// descriptor but not the reply, and the call would return 0. Go's scheduler
	// sends signals.
	defer withoutSignals()()
	n, errno := ioctl(c.q.fd, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a))
	if errno == unix.EINVAL { // before Linux 5.14, the answer is a step of its own
		a.flags = 0
		if n, errno = ioctl(c.q.fd, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a)); errno == 0 {
			c.give(n)
		}
	}
	return n, errno
}

// withoutSignals blocks signals for the calling thread until end. The same goroutine
// must call end.
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

// waits tells whether the call still waits. If not, data that was read from its
// process may belong to another process.
func (c *call) waits() bool {
	id := c.n.id
	_, errno := ioctl(c.q.fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
	return errno == 0
}
