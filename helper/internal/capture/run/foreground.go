//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"golang.org/x/sys/unix"
)

const self = "/proc/self/exe"

// inherited is the descriptor of a process's connection to the process that started
// it.
const inherited = 3

// keys are the signals of a terminal's keys. The terminal sends them to the command
// too. The foreground process ignores them, since the command can survive them.
var keys = []os.Signal{syscall.SIGINT, syscall.SIGQUIT}

// forwarded are the signals that the foreground process passes to the command.
// Without a terminal, it passes those of keys too.
var forwarded = []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGALRM}

// Run runs the command and returns when it has ended. Processes that the command
// leaves behind stay supervised. The error is an *ExitError, unless nothing was
// started.
func Run(ctx context.Context, o Options) error {
	client := handover.Client{Dir: o.Dir}
	if err := client.Probe(ctx); err != nil {
		return err
	}
	return o.run(ctx, os.Stdin, os.Stdout, os.Stderr)
}

// Try runs this program's TryCommand under a supervisor, and asks no capture. It
// returns why "causeway run" does not work here, nil if it does.
func Try(ctx context.Context) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	err = Options{Dir: os.DevNull, Path: self, Argv: []string{"causeway", TryCommand}}.run(ctx, null, null, null)
	if e, ok := errors.AsType[*ExitError](err); ok && e.Reason == "" {
		return errors.New("a supervised program cannot connect as usual")
	}
	return err
}

// Trial is the program of TryCommand. It makes calls that the supervisor judges.
func Trial() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	return connectTo(fd, unix.AF_INET, netip.AddrPortFrom(loopback4, 9))
}

// run is Run without the question whether a capture listens. ctx ends the command.
func (o Options) run(ctx context.Context, streams ...*os.File) error {
	if err := enoughRoom(pidLimits, room); err != nil {
		return err
	}
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = ours.Close() })
	defer stop()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, heeded(slices.Concat(keys, forwarded))...)
	defer func() { signal.Stop(signals); close(signals) }()
	supervisor, err := os.StartProcess(self, o.arguments(SuperviseCommand), &os.ProcAttr{Env: os.Environ(), Files: append(streams, theirs)})
	_ = theirs.Close()
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", explained(err))
	}
	defer reap(supervisor)
	byKeys := hasTerminal()
	go func() {
		for s := range signals {
			if byKeys && slices.Contains(keys, s) {
				continue
			}
			if n, ok := s.(syscall.Signal); ok {
				_, _ = ours.Write([]byte{byte(n)})
			}
		}
	}()
	buf := make([]byte, 4<<10)
	n, err := ours.Read(buf)
	if err != nil || n == 0 {
		return &ExitError{Code: 1, Reason: "the supervisor has ended before the command: connections of the command fail from now on"}
	}
	if buf[0] != 0 || n > 1 {
		return &ExitError{Code: int(buf[0]), Reason: string(buf[1:n])}
	}
	return nil
}

// heeded returns the signals that this process does not ignore. The command inherits
// ignored signals.
func heeded(all []os.Signal) []os.Signal {
	return slices.DeleteFunc(all, signal.Ignored)
}

// hasTerminal tells whether keys can send signals to this process.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err == nil {
		_ = tty.Close()
	}
	return err == nil
}

// pair returns two ends of a connection that preserves message boundaries. Both
// close on exec. The runtime's poller waits for ours.
func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "parent"), os.NewFile(uintptr(fds[1]), "child"), nil
}

// reapTime is the time that the supervisor has to end after the command. It stays if
// the command has left processes behind.
const reapTime = 250 * time.Millisecond

// reap waits for the end of the supervisor, for reapTime. A supervisor that ends after
// this process is a zombie where the first process of a container reaps none.
func reap(supervisor *os.Process) {
	ended := make(chan struct{})
	go func() {
		_, _ = supervisor.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(reapTime):
	}
}
