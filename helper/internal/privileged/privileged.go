// Package privileged starts the helper's privileged subcommand from its own
// executable, for the parts that change this machine's network set-up.
package privileged

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/causeway-dev/causeway/helper/internal/capture/bridge"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/tun"
)

// self is a path of this process's own executable, also if an update of the
// extension has removed or replaced the file.
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

// Start starts the subcommand by start: hostnet.Start or hostnet.StartResolver.
func Start(ctx context.Context, start func(context.Context, hostnet.StartOptions) (*hostnet.Host, error)) (*hostnet.Host, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	return start(ctx, hostnet.StartOptions{Self: program})
}

// StartBridge starts the subcommand and adds addresses for a bridge.
func StartBridge(ctx context.Context, device string) (bridge.Host, netip.Prefix, error) {
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

// StartTun starts the subcommand and makes a TUN device.
func StartTun(ctx context.Context) (tun.Started, error) {
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
