//go:build linux && (amd64 || arm64)

package run

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"golang.org/x/sys/unix"
)

// Supervise starts the command and serves its tree until no process of it is
// left. It tells the front of the command's end.
func Supervise(o Options) error {
	unix.CloseOnExec(inherited)
	if err := unix.SetNonblock(inherited, true); err != nil { // so that no thread waits for it in the kernel
		return fmt.Errorf("hear of the front: %w", err)
	}
	front := os.NewFile(inherited, "front")
	told := sync.OnceFunc(func() { _ = front.Close() })
	tell := func(code int, reason string) {
		_, _ = front.Write(append([]byte{byte(code)}, reason[:min(len(reason), 2<<10)]...))
		told()
	}
	err := supervise(o, front, tell)
	if err != nil {
		tell(1, err.Error())
	}
	return nil
}

func supervise(o Options, front *os.File, tell func(code int, reason string)) error {
	// The terminal's signals are the command's. Those that are caught are at
	// their default again in what is executed.
	drain := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		if !signal.Ignored(s) {
			signal.Notify(drain, s)
		}
	}
	// What the command leaves behind becomes a child of this process: looking
	// into it needs that where the kernel restricts ptrace to descendants.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of the command's children: %w", err)
	}
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }()
	env := append(os.Environ(), Variable+"="+mode(o.Only))
	if outer := os.Getenv(Variable); outer != "" {
		env = os.Environ() // nested, or refused
	}
	o.Keep = !mayTake()
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGCHLD)
	p, err := os.StartProcess(self, o.arguments(ExecCommand), &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs}})
	_ = theirs.Close()
	if err != nil {
		return fmt.Errorf("start the command: %w", err)
	}
	child := p.Pid
	_ = p.Release()
	// From here on, neither the terminal nor a pipe to the command's reader is
	// held open by what serves the processes that it may leave behind.
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("leave the session: %w", err)
	}
	if err := dropStandardStreams(); err != nil {
		return err
	}
	family := &family{child: child, changed: changed}
	go family.forward(front)

	listener, said, err := hear(ours)
	if err != nil {
		return err
	}
	if said[0] == saysFailed && len(said) > 1 {
		family.wait(func(int) {})
		tell(int(said[1]), string(said[2:]))
		return nil
	}
	gone := make(chan struct{})
	if listener >= 0 {
		calls, err := newQueue(listener)
		if err != nil {
			return err
		}
		s := newSupervisor(calls, o, &handover.Client{Dir: o.Dir})
		if err := s.check(thread(child)); err != nil {
			_ = unix.Kill(child, unix.SIGKILL)
			family.wait(func(int) {})
			return err
		}
		if o.Keep {
			go s.kept.sweepAlways()
		}
		go func() {
			defer close(gone)
			_ = s.serve() // if it fails, the kernel fails the calls that wait, with ENOSYS
		}()
	} else {
		close(gone)
	}
	if _, err := ours.Write([]byte{0}); err != nil {
		return fmt.Errorf("begin the command: %w", err)
	}
	reason := ""
	_, last, err := hear(ours) // ends with the exec
	if err == nil && len(last) > 1 && last[0] == saysFailed {
		reason = string(last[2:])
	}
	family.wait(func(code int) {
		if reason != "" {
			code = int(last[1])
		}
		tell(code, reason)
	})
	<-gone
	return nil
}

// mayTake tells whether this process may take descriptors from others at all:
// the usual seccomp profile of containers forbids it.
func mayTake() bool {
	fd, err := thread(os.Getpid()).descriptor(inherited)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil
}

// hear reads one message of the process that becomes the command, and the
// descriptor that comes with it, else -1.
func hear(from *os.File) (int, []byte, error) {
	buf, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	raw, err := from.SyscallConn()
	if err == nil {
		failed := raw.Read(func(fd uintptr) bool {
			for {
				n, oobn, _, _, err = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
				if err != unix.EINTR {
					return err != unix.EAGAIN
				}
			}
		})
		err = errors.Join(failed, err)
	}
	if err == nil && n == 0 {
		err = errors.New("it ended too early")
	}
	if err != nil {
		return -1, nil, fmt.Errorf("hear of the command: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, buf[:n], err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, nil, errors.Join(errors.New("hear of the command: no descriptor"), err)
	}
	return fds[0], buf[:n], nil
}

func dropStandardStreams() error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("leave the standard streams: %w", err)
	}
	defer func() { _ = unix.Close(null) }()
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("leave the standard streams: %w", err)
		}
	}
	return nil
}

// family are the processes of the tree that are children of the supervisor.
type family struct {
	changed <-chan os.Signal // says that a child may have ended
	mu      sync.Mutex
	child   int // the command
	reaped  bool
}

// forward passes the front's signals on to the command while it lives. A front
// that is gone was killed, which it cannot tell: the command gets that too.
func (f *family) forward(front *os.File) {
	b := []byte{0}
	for b[0] != byte(unix.SIGKILL) {
		if n, err := front.Read(b); err != nil || n == 0 {
			b[0] = byte(unix.SIGKILL)
		}
		f.mu.Lock()
		if !f.reaped {
			_ = unix.Kill(f.child, unix.Signal(b[0]))
		}
		f.mu.Unlock()
	}
}

// wait reaps until no child is left, and reports the command's exit code.
func (f *family) wait(ended func(code int)) {
	for {
		pid, status, err := f.reap()
		switch {
		case err == unix.EINTR:
		case err != nil:
			return
		case pid == 0:
			<-f.changed
		case pid == f.child:
			code := status.ExitStatus()
			if status.Signaled() {
				code = 128 + int(status.Signal())
			}
			ended(code)
		}
	}
}

// reap takes leave of one child that has ended, if there is one. It keeps forward
// from sending a signal to a number that was given away.
func (f *family) reap() (pid int, status unix.WaitStatus, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pid, err = unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if err == nil && pid == f.child {
		f.reaped = true
	}
	return pid, status, err
}
