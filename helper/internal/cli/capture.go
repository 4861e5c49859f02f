package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture"
	"github.com/causeway-dev/causeway/helper/internal/capture/dns"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/names"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// cleanUpTime is how long the end of a session may take to clean up.
const cleanUpTime = 4 * time.Second

func captureCommand(e *env) *cobra.Command {
	var stdio bool
	var profile, list, events string
	var sources rpc.Sources
	var bridges []string
	var background *bool
	cmd := &cobra.Command{
		Use:   "capture --stdio | --exit FILE --resources FILE",
		Short: "Run the remote's role, driven over stdio, or alone with a WireGuard profile",
		Long: `Capture turns the connections of ordinary programs on this machine into flows.
It is started by the editor's extension, or by "causeway connect" over ssh or
docker exec, which drives it over stdin and stdout. What serves them stays in the
background while a session waits for its link, at most for the resume limit, and
cleans up when the session ends. See "causeway sessions".

With --exit there is no other machine: what the file of --resources names, an
array as for "causeway connect", is reached by the WireGuard profile, which runs
in user space and needs neither rights nor a device. It prints one line that
begins with "connected" when the resources can be used; Ctrl-C ends it.`,
		Example: `  causeway connect --resources resources.json -- ssh host causeway capture --stdio
  causeway capture --exit office.conf --resources resources.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := func(log zerolog.Logger) role { return newCaptureSessions(log) }
			switch {
			case stdio && profile != "":
				return usageError(errors.New("--stdio and --exit exclude each other"))
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
				if err := checkBridges(bridges); err != nil {
					return usageError(err)
				}
				return captureByExit(cmd.Context(), e, profile, list, connection{json: events == "json", sources: sources, bridges: bridges})
			}
			return usageError(errors.New("capture is driven over stdio: give --stdio, or --exit for a WireGuard profile"))
		},
	}
	background = addBackground(cmd)
	cmd.Flags().BoolVar(&stdio, "stdio", false, "speak the protocol on stdin and stdout")
	cmd.Flags().StringVar(&profile, "exit", "", "reach the resources by this WireGuard profile, from this machine")
	cmd.Flags().StringVar(&list, "resources", "", "with --exit: file with the array of resources")
	cmd.Flags().StringVar(&events, "events", "", `with --exit: "json" prints a line of JSON per event on stdout`)
	addSources(cmd, &sources)
	addBridges(cmd, &bridges)
	_ = cmd.MarkFlagFilename("exit", "conf")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	return cmd
}

// waitAtMost waits for f to return, but not for ever: the process ends anyway.
func waitAtMost(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// parseSession reads the hex of a session's identifier and secret.
func parseSession(session, secret string) (id carrier.SessionID, s carrier.Secret, err error) {
	if n, err := hex.Decode(id[:], []byte(session[:min(len(session), 2*len(id))])); err != nil || n != len(id) || len(session) != 2*len(id) {
		return id, s, fmt.Errorf("session is not %d bytes of hex", len(id))
	}
	if n, err := hex.Decode(s[:], []byte(secret[:min(len(secret), 2*len(s))])); err != nil || n != len(s) || len(secret) != 2*len(s) {
		return id, s, fmt.Errorf("secret is not %d bytes of hex", len(s))
	}
	return id, s, nil
}

// options are what the session offers its programs.
func (s *captureSession) options() capture.Options {
	o := capture.Options{
		Log:           s.all.log,
		UID:           os.Geteuid(),
		Sources:       sourcesOf(s.params.Sources),
		StartHosts:    func(ctx context.Context) (names.Hosts, error) { return startPrivileged(ctx, hostnet.Start) },
		StartResolver: func(ctx context.Context) (dns.Editor, error) { return startPrivileged(ctx, hostnet.StartResolver) },
		Changed: func(c capture.Status) {
			s.set(func(st *rpc.CaptureStatus) { st.Proxy, st.NoProxy, st.Notes = c.Proxy, c.Names, c.Notes })
		},
		StartTun: startTun,
		Bridges:  s.params.Bridges, StartBridge: startBridge,
	}
	return o
}

func sourcesOf(s rpc.Sources) capture.Sources {
	mode := func(v string) capture.Mode {
		switch v {
		case rpc.SourceOn:
			return capture.On
		case rpc.SourceOff:
			return capture.Off
		}
		return capture.Auto
	}
	return capture.Sources{Names: mode(s.Names), DNS: mode(s.DNS), Tun: mode(s.Tun), Proxy: mode(s.Proxy)}
}

// checkBridges refuses what are no names of bridges.
func checkBridges(list []string) error {
	if len(list) > rpc.MaxBridges {
		return fmt.Errorf("%d bridges: at most %d are served", len(list), rpc.MaxBridges)
	}
	for i, name := range list {
		if err := hostnet.CheckBridge(name); err != nil {
			return err
		}
		if slices.Contains(list[:i], name) {
			return fmt.Errorf("the bridge %s is named twice", name)
		}
	}
	return nil
}

// addBridges defines the flag for bridges.
func addBridges(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringSliceVar(to, "bridge", nil, "serve the containers on this bridge of the remote too, such as docker0: whoever is on it reaches the resources")
}

// addSources defines a flag for each source.
func addSources(cmd *cobra.Command, s *rpc.Sources) {
	for name, flag := range map[string]struct {
		to  *string
		use string
	}{
		"names": {&s.Names, "let the remote's programs find resources by the hosts file: auto, on or off"},
		"dns":   {&s.DNS, "let them find resources by a stub resolver in resolv.conf: auto, on or off"},
		"tun":   {&s.Tun, "let them reach addresses, networks and then names, too, by a TUN device: auto, on or off; it takes root or sudo there, and NET_ADMIN"},
		"proxy": {&s.Proxy, "listen for them as a SOCKS5 and HTTP proxy: auto, on or off"},
	} {
		cmd.Flags().StringVar(flag.to, name, rpc.SourceAuto, flag.use)
	}
}
