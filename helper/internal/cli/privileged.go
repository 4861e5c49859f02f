package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"

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

// self is a path of this very program, also when an update of the extension has
// taken its file away, or put another in its place.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil || runtime.GOOS != "linux" {
		return path, err
	}
	own := fmt.Sprintf("/proc/%d/exe", os.Getpid())
	running, err := os.Stat(own)
	if err != nil {
		return path, nil
	}
	if there, err := os.Stat(path); err == nil && os.SameFile(there, running) {
		return path, nil
	}
	return own, nil
}

// startPrivileged runs that command of this very program. start is hostnet.Start
// or StartResolver.
func startPrivileged(ctx context.Context, start func(context.Context, hostnet.StartOptions) (*hostnet.Host, error)) (*hostnet.Host, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	return start(ctx, hostnet.StartOptions{Self: program})
}

// startBridge has that command add addresses for a bridge.
func startBridge(ctx context.Context, device string) (bridge.Host, netip.Prefix, error) {
	program, err := self()
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	h, names, err := hostnet.StartBridge(ctx, hostnet.StartOptions{Self: program}, device)
	if err != nil {
		return nil, names, err
	}
	return h.Behind(device), names, nil
}

// startTun has that command make a TUN device.
func startTun(ctx context.Context) (tun.Started, error) {
	program, err := self()
	if err != nil {
		return tun.Started{}, err
	}
	h, file, d, err := hostnet.StartTun(ctx, hostnet.StartOptions{Self: program})
	if err != nil {
		return tun.Started{}, err
	}
	return tun.Started{Host: h, File: file, Device: d}, nil
}
