//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

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
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, heeded(slices.Concat(keys, forwarded))...)
	defer func() { signal.Stop(signals); close(signals) }()
	err = start(o.arguments(SuperviseCommand), os.Environ(), theirs)
	_ = theirs.Close()
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
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

// start starts this program again with the same standard streams.
func start(args, env []string, connection *os.File) error {
	p, err := os.StartProcess(self, args, &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, connection}})
	if err != nil {
		return err
	}
	return p.Release()
}
