package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/connect"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session/capturerole"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func captureCommand(e *env) *cobra.Command {
	var stdio bool
	var profile, list, events string
	var sources rpc.Sources
	var bridges, users []string
	var background *bool
	cmd := &cobra.Command{
		Use:   "capture --stdio | --exit FILE --resources FILE",
		Short: "Run the remote's role, driven over stdio, or alone with a WireGuard profile",
		Long: `Capture carries the connections of ordinary programs on this machine to the gateway.
The editor's extension starts it, or "causeway connect" does over ssh or docker
exec. They drive it over stdin and stdout. A helper in the background serves them.
It keeps a session that has lost its link until the resume limit, and cleans up
when the session ends. See "causeway sessions".

With --exit there is no other machine. The WireGuard profile leads to the resources
in the file of --resources, an array as for "causeway connect". The profile runs in
user space: it needs no privilege and no device. Capture prints one line that begins
with "connected" when programs can use the resources. Ctrl-C ends it.`,
		Example: `  causeway connect --resources resources.json -- ssh host causeway capture --stdio
  causeway capture --exit office.conf --resources resources.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := func(log zerolog.Logger) role {
				r := capturerole.New(log, helperInfo())
				r.CleanUp()
				return r
			}
			switch {
			case stdio && profile != "":
				return usageError(errors.New("give either --stdio or --exit, not both"))
			case *background:
				return runBackground(cmd.Context(), "capture", start)
			case stdio:
				return runStdio(cmd, e, "capture", start)
			case profile != "":
				if events != "" && events != "json" {
					return usageError(fmt.Errorf("--events takes json, not %q", events))
				}
				if err := sources.Check(); err != nil {
					return usageError(err)
				}
				if err := errors.Join(capturerole.CheckBridges(bridges), owner.CheckUsers(users)); err != nil {
					return usageError(err)
				}
				return captureByExit(cmd.Context(), e, profile, list, events == "json", connect.Options{Sources: sources, Bridges: bridges, Users: users})
			}
			return usageError(errors.New("give --stdio, or --exit with a WireGuard profile"))
		},
	}
	background = addBackground(cmd)
	cmd.Flags().BoolVar(&stdio, "stdio", false, "speak the protocol on stdin and stdout")
	cmd.Flags().StringVar(&profile, "exit", "", "reach the resources through this WireGuard profile, from this machine")
	cmd.Flags().StringVar(&list, "resources", "", "with --exit: file with the array of resources")
	cmd.Flags().StringVar(&events, "events", "", `with --exit: "json" prints a line of JSON per event on stdout`)
	addSources(cmd, &sources)
	addBridges(cmd, &bridges)
	addUsers(cmd, &users)
	_ = cmd.MarkFlagFilename("exit", "conf")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	return cmd
}

// captureByExit is both roles on one machine: the WireGuard profile is the only
// exit of the resources in list, and there is no developer's machine.
func captureByExit(ctx context.Context, e *env, profile, list string, asJSON bool, o connect.Options) error {
	approved, err := readResources(e, list)
	if err != nil {
		return err
	}
	if _, err := os.Stat(profile); err != nil {
		return usageError(err)
	}
	only := resource.Exit{Type: resource.WireGuard, File: profile}
	via := only.Via("exit")
	for i := range approved {
		if named := approved[i].Resource.Exit; named != "" {
			return usageError(fmt.Errorf("resource %q names the exit %q, but --exit is the only one there is", approved[i].Resource.Name, named))
		}
		approved[i].Resource.Exit = via
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Approved, o.Exits, o.Peers, o.Resume = approved, map[string]resource.Exit{via: only}, connect.BesideCapture{}, carrier.DefaultResumeLimit
	o.Link.Args = []string{self, "capture", "--stdio", "--log-level", e.logs.Level.String()}
	return e.connect(ctx, asJSON, o)
}

// addUsers defines the flag for users.
func addUsers(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringSliceVar(to, "users", []string{owner.AutoUsers}, `users of the remote that are served: "mine" (the user of the capture, and root), "everyone", or names of further users; "auto" is everyone in a container or codespace in which at most one person has an account, and mine elsewhere`)
}

// addBridges defines the flag for bridges.
func addBridges(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringSliceVar(to, "bridge", nil, "serve the containers on this bridge of the remote too, such as docker0: every program on the bridge reaches the resources")
}

// addSources defines a flag for each source.
func addSources(cmd *cobra.Command, s *rpc.Sources) {
	for name, flag := range map[string]struct {
		to  *string
		use string
	}{
		"names": {&s.Names, "programs on the remote find names in the hosts file: auto, on or off"},
		"dns":   {&s.DNS, "programs on the remote find names and DNS records by a stub resolver in resolv.conf: auto, on or off"},
		"tun":   {&s.Tun, "programs on the remote reach addresses, networks and names by a TUN device, which needs root or sudo, and NET_ADMIN: auto, on or off"},
		"proxy": {&s.Proxy, "programs on the remote reach resources by a SOCKS and HTTP proxy: auto, on or off"},
	} {
		cmd.Flags().StringVar(flag.to, name, rpc.SourceAuto, flag.use)
	}
}
