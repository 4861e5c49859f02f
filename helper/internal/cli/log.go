package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// addLogLevel adds the flag for the level of what goes to stderr.
func (e *env) addLogLevel(root *cobra.Command) {
	level := root.PersistentFlags().String("log-level", e.logs.Level.String(), "least level to log: trace, debug, info, warn or error")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if err := e.logs.Level.Set(*level); err != nil {
			return usageError(fmt.Errorf("--log-level: %w", err))
		}
		return nil
	}
}
