package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/connect"
	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/session/capturerole"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func connectCommand(e *env) *cobra.Command {
	var file, exits, secrets, events string
	var sources rpc.Sources
	var bridges, users []string
	var strict bool
	var resume time.Duration
	cmd := &cobra.Command{
		Use:   "connect --resources FILE -- COMMAND [ARG…]",
		Short: "Connect a remote without an editor: this process is the gateway, COMMAND the link",
		Long: `Connect runs the gateway in this process and COMMAND as the link. COMMAND must run
"causeway capture --stdio" on the remote. FILE holds an array of resources, like
causeway.resources in the editor's settings. It may contain comments. With FILE you
approve these resources.

The file of --exits says how the gateway reaches a resource with "exit": "office".
It holds an object such as
  {"office": {"type": "wireguard", "file": "/home/me/office.conf"},
   "jump": {"type": "proxy", "url": "socks5://proxy.corp.example:1080"}}
A WireGuard profile runs in this process, without privileges. A proxy may be
socks5, http or https. PAC files are not supported. The file of --credentials has
the users and passwords of proxies. Nobody else may read it:
  {"socks5://proxy.corp.example:1080": {"user": "me", "password": "…"}}

Connect prints one line that begins with "connected" when the remote can be used. If
the link is lost, it runs COMMAND again, and connections continue. If the remote
was restarted or the link was lost for longer than --resume, connect starts a new
session: connections that were open are reset. Ctrl-C disconnects and cleans up. If a
file has mistakes, connect prints all of them and
exits with code 2.`,
		Example: `  causeway connect --resources resources.json -- ssh host causeway capture --stdio
  causeway connect --resources resources.json -- docker exec -i box causeway capture --stdio
  causeway connect --resources resources.json -- gh codespace ssh -c NAME -- causeway capture --stdio`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New(`connect needs a command for the link, as in: -- ssh host causeway capture --stdio`))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if events != "" && events != "json" {
				return usageError(fmt.Errorf("--events takes json, not %q", events))
			}
			if err := errors.Join(sources.Check(), capturerole.CheckBridges(bridges), owner.CheckUsers(users)); err != nil {
				return usageError(err)
			}
			approved, err := readResources(e, file)
			if err != nil {
				return err
			}
			ways, err := readExits(e, exits, approved)
			if err != nil {
				return err
			}
			credentials, err := readCredentials(e, secrets)
			if err != nil {
				return err
			}
			if resume <= 0 || resume > session.MaxResume {
				return usageError(fmt.Errorf("--resume takes a time of at most %v", session.MaxResume))
			}
			return e.connect(cmd.Context(), events == "json", connect.Options{
				Link: link.Command{Args: args}, Approved: approved, Exits: ways, Credentials: credentials,
				Strict: strict, Sources: sources, Bridges: bridges, Users: users, Resume: resume,
			})
		},
	}
	cmd.Flags().StringVar(&file, "resources", "", "file with the array of resources that the remote may reach")
	cmd.Flags().StringVar(&exits, "exits", "", "file with the exits that resources name by \"exit\"")
	cmd.Flags().StringVar(&secrets, "credentials", "", "file, of mode 0600, with the user and password of each proxy among the exits")
	cmd.Flags().StringVar(&events, "events", "", `"json": print a line of JSON per event on stdout`)
	addSources(cmd, &sources)
	addBridges(cmd, &bridges)
	addUsers(cmd, &users)
	cmd.Flags().BoolVar(&strict, "strict-proxy", false, "the remote's proxy refuses targets that are not resources")
	cmd.Flags().DurationVar(&resume, "resume", carrier.DefaultResumeLimit, "how long to try to restore a lost link, at most 3h; connections wait meanwhile")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	_ = cmd.MarkFlagFilename("credentials", "json", "jsonc")
	return cmd
}

// readResources reads the resources in a file. By naming the file the user approves
// them. It reports every mistake.
func readResources(e *env, file string) ([]resource.Approved, error) {
	if file == "" {
		return nil, usageError(errors.New("name the resources that the remote may reach: --resources FILE"))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError(err)
	}
	list, problems := resource.Parse("", text)
	if err := reportProblems(e, file, problems); err != nil {
		return nil, err
	}
	approved := make([]resource.Approved, len(list))
	for i, r := range list {
		approved[i] = resource.Approved{Resource: r, From: resource.FromFile}
	}
	return approved, nil
}

// connect runs o, and prints its events.
func (e *env) connect(ctx context.Context, asJSON bool, o connect.Options) error {
	o.Log = e.logs.Logger("gateway")
	o.Link.Stderr, o.Link.Log = e.stderr, o.Log
	o.Link.Client = rpc.ClientInfo{Name: "causeway-connect", Version: version}
	o.Tell = func(ev connect.Event) {
		if asJSON {
			_ = json.NewEncoder(e.stdout).Encode(ev)
		} else if ev.Event == connect.Connected {
			e.printConnected(ev, o.Log)
		}
	}
	return connect.Run(ctx, o)
}

// printConnected prints what a person wants to know of a connection.
func (e *env) printConnected(ev connect.Event, log zerolog.Logger) {
	what := []string{fmt.Sprintf("%d resources", len(ev.Resources))}
	if len(ev.Resources) == 1 {
		what[0] = "1 resource"
	}
	if ev.Proxy != "" {
		what = append(what, "proxy at "+ev.Proxy)
	}
	_, _ = fmt.Fprintln(e.stdout, "connected", strings.Join(what, ", "))
	for _, n := range ev.Notes {
		log.Warn().Msg(n)
	}
	for _, r := range ev.Resources {
		if r.Trouble != "" {
			log.Warn().Str("resource", r.Name).Msg(r.Trouble)
		}
	}
}
