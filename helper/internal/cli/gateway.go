package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/askpage"
	"github.com/causeway-dev/causeway/helper/internal/pairing"
	"github.com/causeway-dev/causeway/helper/internal/resource"
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
		page    string
		origins []string
	}
	var background *bool
	cmd := &cobra.Command{
		Use:   "gateway (--stdio | --listen 127.0.0.1:PORT)",
		Short: "Run the local role: decide what the remote may reach, and connect to it",
		Long: `The gateway alone decides what a remote may reach. The editor's extension starts it
with --stdio. For an editor in a browser, start it yourself with --listen. It then
asks you which page may use it, and for every approval: at this terminal, and on a page
of its own that it opens in your browser. With --page off and without a terminal,
--resources names the approved resources, and --origin the pages that may connect.`,
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
				if o.file != "" || o.exits != "" || o.secrets != "" || len(o.origins) > 0 || cmd.Flags().Changed("page") {
					return usageError(errors.New("--resources, --exits, --credentials, --page and --origin go with --listen"))
				}
				return runStdio(cmd, e, "gateway", start)
			}
			if err := errors.Join(pairing.CheckAddress(o.listen), pairing.CheckOrigins(o.origins)); err != nil {
				return usageError(err)
			}
			if !slices.Contains([]string{"auto", "on", "off"}, o.page) {
				return usageError(fmt.Errorf("--page takes auto, on or off, not %q", o.page))
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
			return e.listen(cmd.Context(), o.listen, o.page, o.origins, gatewayrole.Preapproval{Resources: preapproved, Exits: exits, Credentials: credentials})
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
	f.StringVar(&o.page, "page", "auto", "ask on a page of the helper in your browser: on, off, or auto (if this machine has a desktop)")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	_ = cmd.MarkFlagFilename("credentials", "json", "jsonc")
	return cmd
}

// listen serves pages in the user's browser.
func (e *env) listen(ctx context.Context, addr, page string, origins []string, pre gatewayrole.Preapproval) error {
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
	_, _ = fmt.Fprintf(e.stdout, "listening on ws://%s\npairing token: %s\n", ln.Addr(), kept.Token())
	var user terminal.Several
	if t := terminal.Open(e.stdin, e.stderr); t != nil {
		user = append(user, t)
	}
	if open := askpage.Browser(); page == "on" || page == "auto" && open != nil {
		// Two helpers may listen at two ports.
		file, err := pairing.File(fmt.Sprintf("ask-%d.html", l.Port))
		if err != nil {
			_ = ln.Close()
			return err
		}
		own, err := askpage.New(log, ln.Addr().(*net.TCPAddr).AddrPort(), file, open)
		if err != nil {
			_ = ln.Close()
			return err
		}
		defer own.Close()
		user = append(user, own)
		l.Own, l.OwnPath = own, askpage.Path
		_, _ = fmt.Fprintf(e.stdout, "page for your answers: %s\n", own.URL())
	}
	all := gatewayrole.New(log, helperInfo())
	defer all.EndAll(session.ErrEnding)
	served := gatewayrole.Page{Token: kept.Token(), Logs: e.logs, Preapproved: pre, OwnPorts: []uint16{uint16(l.Port)}}
	switch {
	case len(user) > 0:
		l.User, served.User = user, user
	case len(pre.Resources) == 0:
		log.Warn().Msg("without a terminal, a page and --resources nobody can approve anything new")
	}
	l.Serve = func(ctx context.Context, p rpc.Pipe, origin string) {
		served := served
		served.Origin = origin
		served.Admit = func(ctx context.Context) error { return l.Admit(ctx, origin) }
		all.ServePage(ctx, p, served)
	}
	return l.Run(ctx, ln)
}
