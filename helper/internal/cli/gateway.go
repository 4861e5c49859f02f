package cli

import (
	"context"
	"errors"
	"fmt"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"net"

	"github.com/causeway-dev/causeway/helper/internal/pairing"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/session/gatewayrole"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func gatewayCommand(e *env) *cobra.Command {
	var o struct {
		stdio   bool
		listen  string
		file    string
		exits   string
		secrets string
		origins []string
	}
	var background *bool
	cmd := &cobra.Command{
		Use:   "gateway (--stdio | --listen 127.0.0.1:PORT)",
		Short: "Run the local role: decide what the remote may reach, and connect to it",
		Long: `The gateway alone decides what a remote may reach. The editor's extension starts it
with --stdio. For an editor in a browser, start it yourself with --listen. It then
shows a token, with which you pair the editor once, and asks for every approval at
this terminal. Without a terminal, --resources names the approved resources, and
--origin the pages that may connect.`,
		Example: `  causeway gateway --listen 127.0.0.1:7741
  causeway gateway --listen 127.0.0.1:7741 --origin https://name.github.dev --resources resources.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := func(log zerolog.Logger) role { return gatewayrole.New(log, helperInfo()) }
			if *background {
				return runBackground(cmd.Context(), "gateway", start)
			}
			if o.stdio == (o.listen != "") {
				return usageError(errors.New("give either --stdio or --listen 127.0.0.1:PORT"))
			}
			if o.stdio {
				if o.file != "" || o.exits != "" || o.secrets != "" || len(o.origins) > 0 {
					return usageError(errors.New("--resources, --exits, --credentials and --origin go with --listen"))
				}
				return runStdio(cmd, e, "gateway", start)
			}
			if err := errors.Join(pairing.CheckAddress(o.listen), pairing.CheckOrigins(o.origins)); err != nil {
				return usageError(err)
			}
			var err error
			var preapproved []resource.Approved
			if o.file != "" {
				if preapproved, err = readResources(e, o.file); err != nil {
					return err
				}
			}
			exits, err := readExits(e, o.exits, preapproved)
			if err != nil {
				return err
			}
			credentials, err := readCredentials(e, o.secrets)
			if err != nil {
				return err
			}
			return e.listen(cmd.Context(), o.listen, o.origins, gatewayrole.Preapproval{Resources: preapproved, Exits: exits, Credentials: credentials})
		},
	}
	background = addBackground(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.stdio, "stdio", false, "speak the protocol on stdin and stdout")
	f.StringVar(&o.listen, "listen", "", "wait for an editor in a browser at this loopback address and port")
	f.StringVar(&o.file, "resources", "", "file with resources that are approved without a question")
	f.StringVar(&o.exits, "exits", "", "file with the exits that those resources name by \"exit\"; see \"causeway connect --help\"")
	f.StringVar(&o.secrets, "credentials", "", "file with the credentials of proxies; see \"causeway connect --help\"")
	f.StringArrayVar(&o.origins, "origin", nil, "origin of a page that may connect, as in https://name.github.dev (repeatable)")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	_ = cmd.MarkFlagFilename("credentials", "json", "jsonc")
	return cmd
}

// listen serves pages in the user's browser.
func (e *env) listen(ctx context.Context, addr string, origins []string, pre gatewayrole.Preapproval) error {
	kept, err := pairing.Open()
	if err != nil {
		return err
	}
	ln, err := pairing.Listen(ctx, addr)
	if err != nil {
		return err
	}
	log := e.logs.Logger("gateway")
	l := &pairing.Listener{Log: log, Pairing: kept, Origins: origins, Port: ln.Addr().(*net.TCPAddr).Port}
	all := gatewayrole.New(log, helperInfo())
	defer all.EndAll(session.ErrEnding)
	page := gatewayrole.Page{Token: kept.Token(), Logs: e.logs, Preapproved: pre, OwnPorts: []uint16{uint16(l.Port)}}
	if t := terminal.Open(e.stdin, e.stderr); t != nil {
		l.Terminal, page.Terminal = t, t
	}
	l.Serve = func(ctx context.Context, p rpc.Pipe, origin string) {
		page := page
		page.Origin = origin
		page.Admit = func(ctx context.Context) error { return l.Admit(ctx, origin) }
		all.ServePage(ctx, p, page)
	}
	_, _ = fmt.Fprintf(e.stdout, "listening on ws://%s\npairing token: %s\n", ln.Addr(), kept.Token())
	if l.Terminal == nil && len(pre.Resources) == 0 {
		log.Warn().Msg("without a terminal and without --resources nobody can approve anything new")
	}
	return l.Run(ctx, ln)
}
