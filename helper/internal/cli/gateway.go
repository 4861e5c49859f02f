package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
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
		Short: "Run the local role: judge what the remote asks for, and connect to it",
		Long: `Gateway is the only place where it is judged what a remote may reach. The editor's
extension starts it with --stdio. For an editor in a browser, start it yourself
with --listen: it shows a token with which you pair the editor once, and asks at
this terminal for every approval. Without a terminal, --resources names what is
approved and --origin who may connect.`,
		Example: `  causeway gateway --listen 127.0.0.1:7741
  causeway gateway --listen 127.0.0.1:7741 --origin https://name.github.dev --resources resources.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := func(log zerolog.Logger) role { return &gatewaySessions{log: log} }
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
			origins, err := parseOrigins(o.origins)
			if err != nil {
				return err
			}
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
			return runGatewayListen(cmd.Context(), e, o.listen, origins, preapproval{preapproved, exits, credentials})
		},
	}
	background = addBackground(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.stdio, "stdio", false, "speak the protocol on stdin and stdout")
	f.StringVar(&o.listen, "listen", "", "wait for an editor in a browser at this loopback address and port")
	f.StringVar(&o.file, "resources", "", "file with resources that are approved without asking")
	f.StringVar(&o.exits, "exits", "", "file with the exits that those resources name by \"exit\"; see \"causeway connect --help\"")
	f.StringVar(&o.secrets, "credentials", "", "file with the credentials of proxies; see \"causeway connect --help\"")
	f.StringArrayVar(&o.origins, "origin", nil, "origin of a page that may connect, as in https://name.github.dev (repeatable)")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	_ = cmd.MarkFlagFilename("credentials", "json", "jsonc")
	return cmd
}

// preapproval is what the command line's files have approved.
type preapproval struct {
	resources []resource.Approved
	exits     map[string]resource.Exit // by what the resources name

	credentials map[string]resource.Credentials // by the proxy's URL
}

// serve serves one shim until its conversation ends, or ctx.
func (all *gatewaySessions) serve(ctx context.Context, p rpc.Pipe) error {
	h := newGatewayHelper(all.log, all)
	id := identity()
	id.Helper.Role = "gateway"
	conn := h.start(rpc.ServeGateway(p, id, h))
	err := untilDone(ctx, conn)
	h.leave(conn.Exited())
	return err
}

func runGatewayListen(ctx context.Context, e *env, addr string, origins []string, pre preapproval) error {
	pair, err := openPairing()
	if err != nil {
		return err
	}
	ln, err := listenLocal(addr)
	if err != nil {
		return err
	}
	log := e.logs.logger("gateway")
	l := &listener{
		log: log, pairing: pair, terminal: openTerminal(e), origins: origins,
		port: ln.Addr().(*net.TCPAddr).Port,
	}
	all := &gatewaySessions{log: log}
	defer all.endAll(errEnding)
	l.serve = func(ctx context.Context, p rpc.Pipe, origin string) {
		servePage(ctx, e, l, p, origin, pre, all)
	}
	_, _ = fmt.Fprintf(e.stdout, "listening on ws://%s\npairing token: %s\n", ln.Addr(), pair.token())
	if l.terminal == nil && len(pre.resources) == 0 {
		log.Warn().Msg("there is no terminal to ask at and no --resources: nothing will be approved beyond what was before")
	}
	return l.run(ctx, ln)
}

// servePage serves one page until it or ctx ends.
func servePage(ctx context.Context, e *env, l *listener, p rpc.Pipe, origin string, pre preapproval, all *gatewaySessions) {
	h := newGatewayHelper(zerolog.Nop(), all)
	h.log = e.logs.loggerTo("gateway", func(m rpc.LogMessage) {
		if c := h.conn.Load(); c != nil {
			_ = c.Notify(rpc.NotifyLog, m)
		}
	})
	h.pre, h.terminal, h.origin = pre, l.terminal, origin
	h.admit = func(ctx context.Context) error { return l.admit(ctx, origin) }
	h.ownPorts = []uint16{uint16(l.port)}
	id := identity()
	id.Helper.Role, id.Token = "gateway", l.pairing.token()
	conn := h.start(rpc.ServeGateway(p, id, h))
	select {
	case <-conn.Ready():
	case <-time.After(pairTime):
		l.log.Warn().Msg("page refused: it did not show the pairing token in time")
		_ = conn.Close()
	case <-conn.Done():
	}
	_ = untilDone(ctx, conn)
	h.leave(conn.Exited())
	conn.Wait()
}
