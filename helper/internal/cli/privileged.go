package cli

import (
	"context"
	"net/netip"
	"os"

	"github.com/causeway-dev/causeway/helper/internal/capture/bridge"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/tun"
	"github.com/spf13/cobra"
)

// privilegedCommand is what the capture starts, by sudo if it must, to edit the
// hosts file and resolv.conf, and for a TUN device. It takes neither arguments
// nor a path.
func privilegedCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "privileged",
		Short:  "Change this machine's network set-up for a capture (started by the capture itself)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			return hostnet.Serve(e.stdin, e.stdout, hostnet.Options{})
		},
	}
}

// startPrivileged runs that command of this very program. start is hostnet.Start
// or StartResolver.
func startPrivileged(ctx context.Context, start func(context.Context, hostnet.StartOptions) (*hostnet.Host, error)) (*hostnet.Host, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, hostnet.StartOptions{Self: self})
}

// startBridge has that command add addresses for a bridge.
func startBridge(ctx context.Context, device string) (bridge.Host, netip.Prefix, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	h, names, err := hostnet.StartBridge(ctx, hostnet.StartOptions{Self: self}, device)
	if err != nil {
		return nil, names, err
	}
	return h.Behind(device), names, nil
}

// startTun has that command make a TUN device.
func startTun(ctx context.Context) (tun.Started, error) {
	self, err := os.Executable()
	if err != nil {
		return tun.Started{}, err
	}
	h, file, d, err := hostnet.StartTun(ctx, hostnet.StartOptions{Self: self})
	if err != nil {
		return tun.Started{}, err
	}
	return tun.Started{Host: h, File: file, Device: d}, nil
}
