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
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// role is what a helper does, in whichever process.
type role interface {
	// serve serves one shim until its conversation ends, or ctx.
	serve(ctx context.Context, p rpc.Pipe) error
	sessions() []daemon.Session
	// endSession ends a session and returns when it is cleaned up.
	endSession(id string) error
	endAll(reason error)
}

// errEnding ends the sessions of a helper that ends.
var errEnding = errors.New("the helper is ending")

// addBackground adds the flag by which a front starts the helper.
func addBackground(cmd *cobra.Command) *bool {
	background := cmd.Flags().Bool("background", false, "be the helper that those with --stdio attach to")
	_ = cmd.Flags().MarkHidden("background")
	return background
}

// runBackground is the life of the helper of a role in the background.
func runBackground(ctx context.Context, name string, start func(zerolog.Logger) role) error {
	hub := daemon.NewHub()
	log := zerolog.New(hub).With().Timestamp().Str("component", name).Logger()
	b := &background{start: func() role { return start(log) }}
	err := daemon.Serve(ctx, daemonOptions(name, log), b, hub)
	if b.role != nil {
		b.role.endAll(errEnding)
	}
	if errors.Is(err, daemon.ErrRunning) {
		return nil // another front was faster than the one that started us
	}
	return err
}

// background is a role behind a socket.
type background struct {
	start func() role
	role  role // from Start on
}

func (b *background) Start() { b.role = b.start() }

func (b *background) Serve(ctx context.Context, c net.Conn) {
	_ = b.role.serve(ctx, rpc.NewStdio(c, c))
}

func (b *background) Sessions() []daemon.Session  { return b.role.sessions() }
func (b *background) End(id string) error         { return b.role.endSession(id) }
func (b *background) SetLevel(level string) error { return setLevel(level) }

func daemonOptions(name string, log zerolog.Logger) daemon.Options {
	return daemon.Options{Role: name, Version: build(), Log: log}
}

// build is the version, and which of the builds of a version under development.
func build() string {
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil {
			return fmt.Sprintf("%s %x.%x", version, info.ModTime().UnixNano(), info.Size())
		}
	}
	return version
}

// runStdio serves a role on stdin and stdout: by the helper in the background,
// so that sessions outlive this process, or by this process if there can be none.
func runStdio(cmd *cobra.Command, e *env, name string, start func(zerolog.Logger) role) error {
	ctx, log := cmd.Context(), e.logs.logger(name)
	in, ok1 := e.stdin.(*os.File)
	out, ok2 := e.stdout.(*os.File)
	if !ok1 || !ok2 {
		return errors.New("stdin and stdout are no files")
	}
	level := ""
	if f := cmd.Flag("log-level"); f != nil && f.Changed {
		level = f.Value.String()
	}
	front, err := daemon.Attach(ctx, daemonOptions(name, log), level, func() *exec.Cmd {
		self, err := os.Executable()
		if err != nil {
			self = os.Args[0]
		}
		return exec.Command(self, name, "--background")
	})
	if err == nil {
		if own := build(); front.Version != own {
			log.Info().Str("version", own).Str("running", front.Version).Msg("a helper of another version has sessions: it serves until the last of them ends")
		}
		return front.Relay(ctx, in, out, e.logs.out)
	}
	log.Warn().Err(err).Msg("connections will not outlive this process")
	alone := start(log)
	defer alone.endAll(errEnding)
	if err := alone.serve(ctx, rpc.NewStdio(in, out)); err != nil {
		return fmt.Errorf("protocol on stdio: %w", err)
	}
	return nil
}

// untilDone waits for the end of a conversation, or of ctx, which ends it.
func untilDone(ctx context.Context, conn *rpc.Conn) error {
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
	_ = conn.Close()
	return conn.Err()
}

var (
	errNoSuchSession  = errors.New("there is no such session")
	errEndedByCommand = errors.New(`ended by "causeway sessions end"`)
)
