package cli

import (
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/spf13/cobra"
)

// privilegedCommand is what the capture starts, by sudo if it must, to edit the
// hosts file. It takes neither arguments nor a path.
func privilegedCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "privileged",
		Short:  "Edit the hosts file for a capture (started by the capture itself)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			return hostnet.Serve(e.stdin, e.stdout, hostnet.Options{})
		},
	}
}
