package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// role is one of the two roles of the helper.
type role interface {
	// Serve serves one driver until its conversation ends, or ctx. SetLevel changes
	// the level of what the driver sees of the log.
	Serve(ctx context.Context, p rpc.Pipe, setLevel func(string) error) error
	Sessions() []daemon.Session
	// End ends a session and returns when it is cleaned up.
	End(id string) error
	EndAll(reason error)
}

// addBackground adds the flag with which a shim starts the helper.
func addBackground(cmd *cobra.Command) *bool {
	background := cmd.Flags().Bool("background", false, "be the helper that those with --stdio attach to")
	_ = cmd.Flags().MarkHidden("background")
	return background
}

// runBackground runs the helper of a role in the background.
func runBackground(ctx context.Context, name string, start func(zerolog.Logger) role) error {
	hub := daemon.NewHub()
	log := zerolog.New(hub).Sample(hub).With().Timestamp().Str("component", name).Logger()
	b := &background{start: func() role { return start(log) }}
	err := daemon.Serve(ctx, daemonOptions(name, log), b, hub)
	if b.role != nil {
		b.role.EndAll(session.ErrEnding)
	}
	if errors.Is(err, daemon.ErrRunning) {
		return nil // another shim was faster than the one that started this process
	}
	return err
}

// background is a role behind a socket.
type background struct {
	start func() role
	role  role // from Start on
}

func (b *background) Start() { b.role = b.start() }

func (b *background) Serve(ctx context.Context, c net.Conn, setLevel func(string) error) {
	_ = b.role.Serve(ctx, rpc.NewStdio(c, c), setLevel)
}

func (b *background) Sessions() []daemon.Session { return b.role.Sessions() }
func (b *background) End(id string) error        { return b.role.End(id) }

func daemonOptions(name string, log zerolog.Logger) daemon.Options {
	return daemon.Options{Role: name, Version: build(), Log: log}
}

// build returns the version, and the time and size of the executable: builds of a
// version under development differ by these.
func build() string {
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil {
			return fmt.Sprintf("%s %x.%x", version, info.ModTime().UnixNano(), info.Size())
		}
	}
	return version
}

// runStdio serves a role on stdin and stdout. This process is a shim of the helper in
// the background, so that sessions outlive it. If there can be no such helper, this
// process serves the role itself.
func runStdio(cmd *cobra.Command, e *env, name string, start func(zerolog.Logger) role) error {
	ctx, log := cmd.Context(), e.logs.Logger(name)
	in, ok1 := e.stdin.(*os.File)
	out, ok2 := e.stdout.(*os.File)
	if !ok1 || !ok2 {
		return errors.New("stdin and stdout must be files")
	}
	level := ""
	if f := cmd.Flag("log-level"); f != nil && f.Changed {
		level = f.Value.String()
	}
	shim, err := daemon.Attach(ctx, daemonOptions(name, log), level, func() *exec.Cmd {
		self, err := os.Executable()
		if err != nil {
			self = os.Args[0]
		}
		return exec.Command(self, name, "--background")
	})
	if err == nil {
		if own := build(); shim.Version != own {
			log.Info().Str("version", own).Str("running", shim.Version).Msg("a helper of another version has sessions: it serves until the last one ends")
		}
		return shim.Relay(ctx, in, out, e.logs.Out)
	}
	log.Warn().Err(err).Msg("cannot use a helper in the background: connections end with this process")
	alone := start(log)
	defer alone.EndAll(session.ErrEnding)
	if err := alone.Serve(ctx, rpc.NewStdio(in, out), e.logs.Level.Set); err != nil {
		return fmt.Errorf("protocol on stdio: %w", err)
	}
	return nil
}
