package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/spf13/cobra"
)

// watchEvery is the time between two looks of "status --watch".
const watchEvery = 2 * time.Second

func statusCommand(e *env) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the whole state of every session: links, resources, flows",
		Long: `Status shows the state of every session of your helpers in the background: the link,
the resources, whether each of them works and since when, and the programs that use it.

With --watch, status prints the state every 2 s until you interrupt it. With --json too,
it prints one line of JSON each time.`,
		Example: "  causeway status --watch\n  causeway status --json | jq '.[].sessions[].status.resources'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return watchStatus(cmd.Context(), asJSON, e.stdout, listRunning)
			}
			running, err := listRunning(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(running)
			}
			return printStatus(e.stdout, running)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print the state every 2 s")
	return cmd
}

// watchStatus prints the state again and again until ctx ends. On a terminal, the new
// state replaces the old one.
func watchStatus(ctx context.Context, asJSON bool, w io.Writer, list func(context.Context) ([]*daemon.Running, error)) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		running, err := list(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case asJSON:
			err = json.NewEncoder(w).Encode(running)
		default:
			if terminal.Is(w) {
				_, _ = io.WriteString(w, "\x1b[H\x1b[2J")
			}
			_, _ = fmt.Fprintln(w, time.Now().Format(time.TimeOnly))
			err = printStatus(w, running)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// clientLine names a program that has flows.
func clientLine(c rpc.Client) string {
	of := c.User
	if c.PID != 0 {
		of = fmt.Sprintf("pid %d, %s", c.PID, c.User)
	}
	flows := "flows"
	if c.Flows == 1 {
		flows = "flow"
	}
	return fmt.Sprintf("%s (%s): %d %s", cmp.Or(c.Program, "a program"), of, c.Flows, flows)
}

// stateOf returns one word for the state of a resource: a ready one works, fails, or
// is only ready if nothing has shown that yet.
func stateOf(r rpc.ResourceStatus) string {
	if r.State == rpc.ResourceReady && r.Health != nil && r.Health.State != rpc.HealthUnknown {
		return r.Health.State
	}
	return r.State
}

// healthLine says since when a resource works or does not, and why; "" if that is not
// known.
func healthLine(r rpc.ResourceStatus) string {
	h := r.Health
	if h == nil || h.Checked == nil || h.State == rpc.HealthUnknown {
		return ""
	}
	line := fmt.Sprintf("since %s, last checked at %s", h.Since.Local().Format(time.TimeOnly), h.Checked.Local().Format(time.TimeOnly))
	if h.State == rpc.HealthWorks {
		return fmt.Sprintf("%s, %.0f ms", line, h.Millis)
	}
	return fmt.Sprintf("%s: %s: %s", line, h.Step, h.Detail)
}

func printStatus(to io.Writer, running []*daemon.Running) error {
	if len(running) == 0 {
		_, err := fmt.Fprintln(to, "no helper is running in the background")
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, r := range running {
		_, _ = fmt.Fprintf(w, "%s helper, pid %d, version %s, up %v\n", r.Role, r.PID, r.Version, time.Since(r.Started).Round(time.Second))
		for _, s := range r.Sessions {
			_, _ = fmt.Fprintf(w, "  session %.12s: %s\n", s.ID, s.State)
			var st rpc.GatewayStatus // what a capture says is a part of it
			if json.Unmarshal(s.Status, &st) != nil {
				continue
			}
			row := func(name string, format string, args ...any) {
				_, _ = fmt.Fprintf(w, "    %s\t%s\n", name, fmt.Sprintf(format, args...))
			}
			if s.Authority != "" {
				row("remote", "%s", terminal.Printable(s.Authority))
			}
			if st.Reason != "" {
				row("reason", "%s", terminal.Printable(st.Reason))
			}
			if st.Link != nil {
				row("link", "%s, round trip %.1f ms", st.Link.Kind, st.Link.Millis)
			}
			if st.Proxy != "" {
				row("proxy", "%s", terminal.Printable(st.Proxy))
			}
			if r.Role == "gateway" {
				row("flows", "%d open, %d bytes up, %d bytes down", st.Flows, st.BytesUp, st.BytesDown)
			}
			for _, line := range st.Trouble {
				row("trouble", "%s", line)
			}
			for _, res := range st.Resources {
				row(terminal.Printable(res.Name), "%s\t%s", stateOf(res), terminal.Printable(cmp.Or(res.Note, strings.Join(res.Served, ", "))))
				if line := healthLine(res); line != "" {
					row("", "\t%s", terminal.Printable(line))
				}
				for _, c := range res.Clients {
					row("", "\t%s", terminal.Printable(clientLine(c)))
				}
			}
			for _, n := range st.Notes {
				row("note", "%s", terminal.Printable(n))
			}
		}
	}
	return w.Flush()
}
