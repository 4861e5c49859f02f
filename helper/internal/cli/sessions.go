package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func sessionsCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List the sessions of your helpers in the background, or end some",
		Long: `Sessions lists the sessions of your helpers in the background on this machine: those
of the gateway on your own machine, those of the capture on a remote. A session
continues while its window reloads or its link is lost. After the resume limit it
ends by itself. A helper without a session ends at once.`,
		Example: "  causeway sessions\n  causeway sessions end 3f2a",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			running, err := listRunning(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				for _, r := range running {
					for i := range r.Sessions {
						r.Sessions[i].Status = nil
					}
				}
				return e.printJSON(running)
			}
			return e.printSessions(running)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(&cobra.Command{
		Use:   "end (ID | --all)",
		Short: "End the sessions whose identifier begins with ID, and clean up",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, _ := cmd.Flags().GetBool("all")
			if all == (len(args) == 1) || len(args) > 1 {
				return usageError(errors.New("name a session as \"causeway sessions\" shows it, or give --all"))
			}
			return endSessions(cmd.Context(), e, strings.Join(args, ""))
		},
	})
	cmd.Commands()[0].Flags().Bool("all", false, "end every session")
	return cmd
}

// listRunning asks the helpers of both roles of this user.
func listRunning(ctx context.Context) ([]*daemon.Running, error) {
	running := []*daemon.Running{}
	for _, name := range []string{"gateway", "capture"} {
		r, err := daemon.List(ctx, daemonOptions(name, zerolog.Nop()))
		if err != nil {
			return nil, err
		}
		if r != nil {
			running = append(running, r)
		}
	}
	return running, nil
}

func endSessions(ctx context.Context, e *env, prefix string) error {
	running, err := listRunning(ctx)
	if err != nil {
		return err
	}
	ended := 0
	for _, r := range running {
		for _, s := range r.Sessions {
			if !strings.HasPrefix(s.ID, prefix) {
				continue
			}
			if err := daemon.End(ctx, daemonOptions(r.Role, zerolog.Nop()), s.ID); err != nil {
				return fmt.Errorf("end session %s: %w", s.ID, err)
			}
			ended++
			_, _ = fmt.Fprintf(e.stdout, "ended %s %s\n", r.Role, s.ID)
		}
	}
	if ended == 0 && prefix != "" {
		return fmt.Errorf("%w: %s", session.ErrUnknown, terminal.Printable(prefix))
	}
	return nil
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (e *env) printSessions(running []*daemon.Running) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	n := 0
	for _, r := range running {
		for _, s := range r.Sessions {
			if n++; n == 1 {
				_, _ = fmt.Fprintln(w, "ID\tROLE\tSTATE\tLINK\tSINCE\tDRIVEN\tREMOTE")
			}
			driven := "no"
			if s.Driven {
				driven = "yes"
			}
			_, _ = fmt.Fprintf(w, "%.12s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, r.Role, s.State, cmp.Or(s.Link, "-"),
				time.Since(s.Since).Round(time.Second), driven, cmp.Or(terminal.Printable(s.Authority), "-"))
		}
	}
	if n == 0 {
		_, _ = fmt.Fprintln(e.stdout, "no sessions")
	}
	return w.Flush()
}
