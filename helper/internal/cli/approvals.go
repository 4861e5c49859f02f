package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/spf13/cobra"
)

func approvalsCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List the approvals that you gave for always, or revoke some",
		Long: `Approvals lists the resources that you approved for always on this machine, with the
remote and the workspace that each approval holds for. Approvals for one session only
are not in the list. They end with their session.`,
		Example: "  causeway approvals\n  causeway approvals --json\n  causeway approvals revoke orders-db",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := consent.Path()
			if err != nil {
				return err
			}
			list, err := consent.List(path)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(list)
			}
			return e.printApprovals(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(revokeCommand(e))
	return cmd
}

func revokeCommand(e *env) *cobra.Command {
	var remote, workspace string
	var all bool
	cmd := &cobra.Command{
		Use:   "revoke (NAME | --all)",
		Short: "Revoke the approvals of a resource, and end its connections",
		Long: `Revoke removes the approvals of the resource NAME, or all. A gateway that runs resets
the connections within a second. If the settings still have the resource, it asks again.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return usageError(errors.New("name a resource as \"causeway approvals\" shows it, or give --all"))
			}
			path, err := consent.Path()
			if err != nil {
				return err
			}
			gone, err := consent.Revoke(path, func(a consent.Entry) bool {
				return (all || a.Resource.Name == args[0]) && (remote == "" || a.Remote == remote) && (workspace == "" || a.Workspace == workspace)
			})
			if err != nil {
				return err
			}
			if len(gone) == 0 && !all {
				return fmt.Errorf("no approval of %s", terminal.Printable(args[0]))
			}
			for _, a := range gone {
				_, _ = fmt.Fprintf(e.stdout, "revoked %s on %s %s\n", terminal.Printable(a.Resource.Name), terminal.Printable(a.Remote), terminal.Printable(a.Workspace))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&remote, "remote", "", "only on this remote")
	cmd.Flags().StringVar(&workspace, "workspace", "", "only for the workspace with this URI")
	cmd.Flags().BoolVar(&all, "all", false, "revoke the approvals of every resource")
	return cmd
}

func (e *env) printApprovals(list []consent.Entry) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.stdout, "no approvals")
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "RESOURCE\tHOST\tPORTS\tPROTOCOLS\tSINCE\tREMOTE\tWORKSPACE")
	for _, a := range list {
		since := "-"
		if a.Since != nil {
			since = a.Since.Local().Format(time.DateTime)
		}
		r := a.Resource
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", terminal.Printable(r.Name), terminal.Printable(r.Host.String()),
			cmp.Or(terminal.Printable(strings.Join(r.PortStrings(), ",")), "-"), strings.Join(r.ProtocolStrings(), ","), since,
			terminal.Printable(a.Remote), cmp.Or(terminal.Printable(a.Workspace), "-"))
	}
	return w.Flush()
}
