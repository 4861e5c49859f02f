package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/causeway-dev/causeway/helper/internal/capture/run"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/spf13/cobra"
)

// exitNotFound is the exit code of shells if there is no such program.
const exitNotFound = 127

func runCommand(*env) *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use:   "run [--only] -- COMMAND [ARGUMENT]...",
		Short: "Run a command that reaches the resources, also by address (Linux)",
		Long: `Run starts a command on the remote. Your capture there carries the connections of
the command, and of every process that it starts, to approved addresses. Run needs
no privilege. All other connections go where they went before.

With --only, run refuses all other connections, except those to loopback: the
command reaches the resources and nothing else. That protects against accidents in a
build. It is not a sandbox: Unix sockets and files stay as open as before.

The exit code is the command's, or 128 plus the number of the signal that ended it.
Processes that the command leaves behind stay under supervision.`,
		Example: `  causeway run -- psql -h 10.20.0.5 orders
  causeway run --only -- npm ci
  causeway run -- bash`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New("run takes a command"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := exec.LookPath(args[0])
			if err != nil {
				return &exitError{exitNotFound, fmt.Errorf("run %s: %w", args[0], err)}
			}
			dir, err := daemon.DefaultDir()
			if err != nil {
				return err
			}
			// Not the command line's context: the command handles signals itself.
			err = run.Run(context.WithoutCancel(cmd.Context()), run.Options{Only: only, Dir: dir, Path: path, Argv: args})
			if e, ok := errors.AsType[*run.ExitError](err); ok {
				if e.Reason == "" {
					return &exitError{e.Code, nil}
				}
				return &exitError{e.Code, err}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&only, "only", false, "refuse connections that lead neither to a resource nor to loopback")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// runParts are the further processes of run, started by run itself.
func runParts() []*cobra.Command {
	part := func(use string, f func(run.Options) error) *cobra.Command {
		var o run.Options
		cmd := &cobra.Command{
			Use:    use,
			Short:  "A part of run (started by run itself)",
			Hidden: true,
			Args:   cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				o.Argv = args
				if err := f(o); err != nil {
					return &exitError{exitFailed, nil} // told to the part that started it
				}
				return nil
			},
		}
		cmd.Flags().BoolVar(&o.Only, "only", false, "")
		cmd.Flags().BoolVar(&o.Keep, "keep", false, "")
		cmd.Flags().StringVar(&o.Dir, "dir", "", "")
		cmd.Flags().StringVar(&o.Path, "path", "", "")
		cmd.Flags().SetInterspersed(false)
		return cmd
	}
	try := &cobra.Command{Use: run.TryCommand, Short: "A part of doctor (started by doctor itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return run.Trial() }}
	return []*cobra.Command{try, part(run.SuperviseCommand, run.Supervise), part(run.ExecCommand, run.Exec)}
}
