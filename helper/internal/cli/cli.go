// Package cli is the command line of the helper, and the only place where its
// parts are put together. It holds no logic of theirs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/logs"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/spf13/cobra"
)

// Exit codes, as the help text documents them.
const (
	exitOK      = 0
	exitFailed  = 1 // something did not work
	exitUsage   = 2 // wrong arguments or a wrong resources file
	exitRefused = 3 // the gateway refused what nc asked for, or a check of doctor failed
)

// version is set by the build.
var version = "0.0.0-dev"

// env has the stdio and the logs of a command.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	logs           *logs.Logs
}

// exitError carries an exit code with an error; a nil error was reported already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	netx.TuneCollector()
	// One processor for goroutines, unless the user says otherwise. Each byte passes
	// through several goroutines, and waking another processor for each hand-over
	// costs more than it brings: one processor carries twice the bytes in the same
	// processor time.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}

	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, logs: logs.New(stderr)}
	root := rootCommand(e)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitFailed, err}
	}
	if exit.err != nil {
		_, _ = fmt.Fprintln(stderr, "causeway:", exit.err)
	}
	return exit.code
}

// endings returns the signals that end a command in order. A signal that is ignored,
// as in a shell's background job, stays ignored, also for the command of run.
func endings() (list []os.Signal) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
}

func rootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "causeway",
		Short: "Reach private resources from a remote environment, through your own machine",
		Long: `Causeway lets a remote development environment reach resources on a private
network through the developer's machine, over a channel that is open already.

The gateway runs on the developer's machine. It decides what the remote may reach,
and makes the connections. The capture runs on the remote and carries the
connections of ordinary programs to the gateway. The editor's extensions start
both. "causeway connect" starts them without an editor.

Exit codes: 0 done; 1 something failed; 2 wrong arguments or a wrong resources
file; 3 the gateway refused (nc), or a check failed (doctor). "causeway run" exits
with the status of its command.`,
		Example: `  causeway connect --resources resources.json -- ssh host causeway capture --stdio
  causeway doctor
  ssh -o ProxyCommand='causeway nc %h %p' git@git.corp.example`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	e.addLogLevel(root)
	root.AddCommand(
		gatewayCommand(e), captureCommand(e), connectCommand(e),
		sessionsCommand(e), statusCommand(e), approvalsCommand(e), ncCommand(e), runCommand(e), doctorCommand(e), serviceCommand(e), versionCommand(e), privilegedCommand(e),
	)
	root.AddCommand(runParts()...)
	return root
}

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(e.stdout, "causeway %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Errorf("%s takes no arguments, got %q", c.CommandPath(), args[0]))
	}
	return nil
}

// privilegedCommand is the part that the capture starts, by sudo if it must, to
// edit the hosts file and resolv.conf, and for a TUN device. It takes neither
// arguments nor a path.
func privilegedCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "privileged",
		Short:  "Change this machine's network set-up for a capture (started by the capture itself)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			return hostnet.Serve(e.stdin, e.stdout, hostnet.Options{})
		},
	}
}

// helperInfo is what drivers are told of this process.
func helperInfo() rpc.HelperInfo {
	return rpc.HelperInfo{Version: version, OS: runtime.GOOS, Arch: runtime.GOARCH, PID: os.Getpid()}
}
