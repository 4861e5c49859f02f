package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/doctor"
	"github.com/spf13/cobra"
)

func doctorCommand(e *env) *cobra.Command {
	var asJSON bool
	var exits string
	cmd := &cobra.Command{
		Use:   "doctor [gateway|capture]",
		Short: "Check what this machine offers, and say what to do if something is missing",
		Long: `Doctor checks what each role needs on its machine. Run it on your own machine for
the gateway, and on the remote for the capture. It changes nothing. If a check
fails, it exits with 3.`,
		Example: "  causeway doctor\n  ssh host causeway doctor capture",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "gateway" && args[0] != "capture" {
				return usageError(errors.New("doctor takes one role: gateway or capture"))
			}
			if exits != "" && len(args) == 1 && args[0] == "capture" {
				return usageError(errors.New("--exits belongs to the gateway"))
			}
			return nil
		},
		ValidArgs: []string{"gateway", "capture"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var checks []doctor.Check
			if len(args) == 0 || args[0] == "gateway" {
				checks = append(checks, doctor.Gateway(cmd.Context())...)
				named, err := parseExits(e, exits)
				if err != nil {
					return err
				}
				for _, name := range slices.Sorted(maps.Keys(named)) {
					checks = append(checks, doctor.Exit(name, named[name]))
				}
			}
			if len(args) == 0 || args[0] == "capture" {
				checks = append(checks, doctor.Capture(cmd.Context())...)
			}
			return e.reportChecks(checks, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&exits, "exits", "", "file with exits to check as well; see \"causeway connect --help\"")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	return cmd
}

func (e *env) reportChecks(checks []doctor.Check, asJSON bool) error {
	failed := false
	for _, c := range checks {
		failed = failed || !c.OK
	}
	if asJSON {
		if err := json.NewEncoder(e.stdout).Encode(checks); err != nil {
			return err
		}
	} else {
		for _, c := range checks {
			mark := "ok  "
			if !c.OK {
				mark = "FAIL"
			}
			_, _ = fmt.Fprintf(e.stdout, "%s  %-8s %s: %s\n", mark, c.Side, c.Name, c.Detail)
			if c.Hint != "" {
				_, _ = fmt.Fprintf(e.stdout, "      %-8s %s\n", "", c.Hint)
			}
		}
	}
	if failed {
		return &exitError{code: exitRefused}
	}
	return nil
}
