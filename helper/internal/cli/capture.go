package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// cleanUpTime is how long the end of a session may take to clean up.
const cleanUpTime = 4 * time.Second

func captureCommand(e *env) *cobra.Command {
	var stdio bool
	cmd := &cobra.Command{
		Use:   "capture --stdio",
		Short: "Run the remote's role, driven over stdio by an extension or by connect",
		Long: `Capture turns the connections of ordinary programs on this machine into flows.
It is started by the editor's extension, or by "causeway connect" over ssh or
docker exec, which drives it over stdin and stdout. It ends, and cleans up, when
its stdin ends.`,
		Example: "  causeway connect --resources resources.json -- ssh host causeway capture --stdio",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !stdio {
				return usageError(errors.New("capture is driven over stdio: give --stdio"))
			}
			return runCapture(cmd.Context(), e)
		},
	}
	cmd.Flags().BoolVar(&stdio, "stdio", false, "speak the protocol on stdin and stdout")
	return cmd
}

func runCapture(ctx context.Context, e *env) error {
	log := e.logs.logger("capture")
	all := newCaptureSessions(log)
	defer all.endAll(errEnding)
	return serveStdio(ctx, e, log, func(ctx context.Context, p rpc.Pipe) error { return serveCapture(ctx, p, log, all) })
}

// errEnding ends the sessions of a helper that ends.
var errEnding = errors.New("the helper is ending")

// serveStdio serves a role on stdin and stdout until either ends, or ctx.
func serveStdio(ctx context.Context, e *env, log zerolog.Logger, serve func(context.Context, rpc.Pipe) error) error {
	in, ok1 := e.stdin.(*os.File)
	out, ok2 := e.stdout.(*os.File)
	if !ok1 || !ok2 {
		return errors.New("stdin and stdout are no files")
	}
	log.Debug().Str("version", version).Msg("ready")
	if err := serve(ctx, rpc.NewStdio(in, out)); err != nil {
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

// waitAtMost waits for f to return, but not for ever: the process ends anyway.
func waitAtMost(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// parseSession reads the hex of a session's identifier and secret.
func parseSession(session, secret string) (id carrier.SessionID, s carrier.Secret, err error) {
	if n, err := hex.Decode(id[:], []byte(session[:min(len(session), 2*len(id))])); err != nil || n != len(id) || len(session) != 2*len(id) {
		return id, s, fmt.Errorf("session is not %d bytes of hex", len(id))
	}
	if n, err := hex.Decode(s[:], []byte(secret[:min(len(secret), 2*len(s))])); err != nil || n != len(s) || len(secret) != 2*len(s) {
		return id, s, fmt.Errorf("secret is not %d bytes of hex", len(s))
	}
	return id, s, nil
}
