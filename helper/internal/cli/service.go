package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/pairing"
	"github.com/causeway-dev/causeway/helper/internal/service"
	"github.com/spf13/cobra"
)

// startTime is how long a new service may take until it listens.
const startTime = 10 * time.Second

func serviceCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Start the helper for VS Code in a browser at each login",
		Long: `The service runs "causeway gateway --listen" as your own user: with systemd on Linux,
with launchd on macOS. It asks you on a page that it opens in your browser.`,
		Example: "  causeway service install\n  causeway service status\n  causeway service remove",
		Args:    noArgs,
	}
	var listen string
	install := &cobra.Command{
		Use:   "install",
		Short: "Install the service, or replace it, and start it now",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := pairing.CheckAddress(listen); err != nil {
				return usageError(err)
			}
			program, err := os.Executable()
			if err == nil {
				program, err = filepath.EvalSymlinks(program)
			}
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			if s, err := service.Status(cmd.Context()); err != nil {
				return err
			} else if !s.Running {
				ln, err := pairing.Listen(cmd.Context(), listen)
				if err != nil {
					return err
				}
				_ = ln.Close()
			}
			spec := service.Spec{Program: program, Args: []string{"gateway", "--listen", listen, "--page", "on"}}
			if err := service.Install(cmd.Context(), spec); err != nil {
				return err
			}
			if err := listens(cmd.Context(), listen); err != nil {
				s, _ := service.Status(cmd.Context())
				return fmt.Errorf("the service is installed, but nothing listens at %s after %s: %s shows why", listen, startTime, s.Log)
			}
			_, err = fmt.Fprintf(e.stdout, "the helper listens at %s, now and after each login\nit runs %s: keep this file\n", listen, program)
			return err
		},
	}
	install.Flags().StringVar(&listen, "listen", "127.0.0.1:7741", "loopback address and port to listen at")
	remove := &cobra.Command{
		Use:   "remove",
		Short: "Stop the service and remove it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := service.Remove(cmd.Context()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(e.stdout, "there is no service now")
			return err
		},
	}
	status := &cobra.Command{
		Use:   "status",
		Short: "Say whether the service runs, and where its page and its log are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := service.Status(cmd.Context())
			switch {
			case err != nil:
				return err
			case !s.Installed:
				_, err = fmt.Fprintln(e.stdout, `there is no service: "causeway service install" installs it`)
				return err
			}
			state := "runs"
			if !s.Running {
				state = "does not run"
			}
			pages, err := pairing.File("ask-*.html")
			if err != nil {
				return err
			}
			page := "none"
			if found, _ := filepath.Glob(pages); len(found) > 0 {
				page = strings.Join(found, ", ")
			}
			_, err = fmt.Fprintf(e.stdout, "the service %s\n  unit  %s\n  page  %s\n  log   %s\n", state, s.File, page, s.Log)
			return err
		},
	}
	cmd.AddCommand(install, remove, status)
	return cmd
}

// listens waits until something listens at addr.
func listens(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
