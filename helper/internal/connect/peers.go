package connect

import (
	"context"
	"net/netip"
	"os"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
)

// BesideCapture resolves names as this machine does without a capture. A peer's own
// name may be in a domain that the capture serves through the peer: then the way to
// the peer would lead through the peer.
type BesideCapture struct{}

// LookupNetIP implements dial.Resolver.
func (BesideCapture) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	listed, _ := systemdns.Listed(ctx, name)
	if listed = slices.DeleteFunc(listed, hostnet.IsGiven); len(listed) > 0 {
		return listed, nil
	}
	content, err := os.ReadFile(hostnet.DefaultResolvPath)
	if err != nil {
		return nil, err
	}
	var servers systemdns.Servers
	_, before := hostnet.Nameservers(content, netip.Addr{})
	for _, a := range before {
		servers.At = append(servers.At, netip.AddrPortFrom(a, 53).String())
	}
	return systemdns.Addresses(ctx, servers, new(systemdns.Families), name)
}
