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

// Supervise starts the command and serves its tree until no process of it is left.
// It reports the command's end to the foreground process.
func Supervise(o Options) error {
	unix.CloseOnExec(inherited)
	if err := unix.SetNonblock(inherited, true); err != nil { // for the runtime's poller
		return fmt.Errorf("read from the foreground process: %w", err)
	}
	foreground := os.NewFile(inherited, "foreground")
	told := sync.OnceFunc(func() { _ = foreground.Close() })
	tell := func(code int, reason string) {
		_, _ = foreground.Write(append([]byte{byte(code)}, reason[:min(len(reason), 2<<10)]...))
		told()
	}
	err := supervise(o, foreground, tell)
	if err != nil {
		tell(1, err.Error())
	}
	return nil
}

func supervise(o Options, foreground *os.File, tell func(code int, reason string)) error {
	// The terminal's signals are for the command. Catching them here leaves them at
	// their default in the command.
	drain := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		if !signal.Ignored(s) {
			signal.Notify(drain, s)
		}
	}
	// Processes that the command leaves behind become children of this process. Some
	// kernels allow ptrace of descendants only.
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
		return fmt.Errorf("start the command: %w", explained(err))
	}
	child := p.Pid
	_ = p.Release()
	// From here on, this process holds open neither the terminal nor a pipe to the
	// reader of the command's output: it can outlive the command.
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("leave the session: %w", err)
	}
	if err := dropStandardStreams(); err != nil {
		return err
	}
	family := &family{child: child, changed: changed}
	go family.forward(foreground)

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
		if err := s.check(thread{id: child}); err != nil {
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

// mayTake tells whether this process may take descriptors from other processes. The
// usual seccomp profile of containers forbids it.
func mayTake() bool {
	fd, err := thread{id: os.Getpid()}.descriptor(inherited)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil && (os.Geteuid() != 0 || hasPtrace())
}

// hasPtrace tells whether this process has CAP_SYS_PTRACE. Without it, root cannot
// look into the processes of other users.
func hasPtrace() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// hear reads one message of the process that becomes the command. It returns the
// descriptor that came with it, or -1.
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
		err = errors.New("it ended before the command started")
	}
	if err != nil {
		return -1, nil, fmt.Errorf("read from the command's process: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, buf[:n], err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, nil, errors.Join(errors.New("read from the command's process: no descriptor"), err)
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

// forward passes the foreground process's signals to the command while it lives. If
// the foreground process is gone, it was killed with SIGKILL, so the command gets
// SIGKILL too.
func (f *family) forward(foreground *os.File) {
	b := []byte{0}
	for b[0] != byte(unix.SIGKILL) {
		if n, err := foreground.Read(b); err != nil || n == 0 {
			b[0] = byte(unix.SIGKILL)
		}
		f.mu.Lock()
		if !f.reaped {
			_ = unix.Kill(f.child, unix.Signal(b[0]))
		}
		f.mu.Unlock()
	}
}

// wait reaps children until none is left. It reports the command's exit code.
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

// reap waits for one child that has ended, if there is one. It holds the lock, so
// forward never sends a signal to a process number that is in use again.
func (f *family) reap() (pid int, status unix.WaitStatus, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pid, err = unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if err == nil && pid == f.child {
		f.reaped = true
	}
	return pid, status, err
}
