package dial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Resolver finds the addresses of a name in normal form. The error of a name
// that does not exist is a *net.DNSError with IsNotFound.
type Resolver interface {
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
}

// ipv6Resolver is a Resolver that does not always wait for IPv6 addresses.
type ipv6Resolver interface {
	// LookupIPv6 finds the IPv6 addresses of a name. The error is as that of
	// Resolver.
	LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error)
}

// SystemResolver resolves names as the machine's own programs do. The zero value is ready.
type SystemResolver struct{ families systemdns.Families }

// LookupNetIP implements Resolver. No search list applies. IPv6 addresses are missing
// if they come much later than those of IPv4.
func (r *SystemResolver) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := r.families.LookUp(ctx, func(ctx context.Context, network string) ([]netip.Addr, error) {
		addrs, err := new(net.Resolver).LookupNetIP(ctx, network, name+".")
		// Go counts an IPv4 address inside an IPv6 address as IPv4 and leaves it out
		// here. The policy has to see it, or its refusal would look like a failure.
		if _, none := errors.AsType[*net.AddrError](err); none && network == "ip6" {
			return new(net.Resolver).LookupNetIP(ctx, "ip", name+".")
		}
		return addrs, err
	})
	if err == nil {
		if ipv6First(addrs) {
			slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(a.Unmap().BitLen(), b.Unmap().BitLen()) * -1 })
		}
		return addrs, nil
	}
	if strings.Contains(name, ".") {
		return nil, err
	}
	// The final dot keeps the search list away, but Go then does not find a single label
	// in the hosts file. Listed reads only that file.
	if listed, fileErr := systemdns.Listed(ctx, name); fileErr == nil {
		return listed, nil
	}
	return nil, err
}

// LookupIPv6 implements ipv6Resolver.
func (*SystemResolver) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	return new(net.Resolver).LookupNetIP(ctx, "ip6", name+".")
}

// uniqueLocal are addresses that RFC 6724 ranks behind those of IPv4.
var uniqueLocal = netip.MustParsePrefix("fc00::/7")

// ipv6First reports whether one of the addresses is of IPv6, to be tried before those
// of IPv4: this machine has a route to it, and it is globally routed (RFC 6724).
func ipv6First(addrs []netip.Addr) bool {
	for _, a := range addrs {
		if a = a.Unmap(); !a.Is6() || uniqueLocal.Contains(a) {
			continue
		}
		// Connecting a UDP socket sends nothing.
		c, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
		if err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// ResolveError turns the error of a look-up for r into the answer to a flow. The code is
// NoSuchName only if the name is known not to exist, since programs remember that.
func ResolveError(r resource.Resource, name string, err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	who := "this machine's resolver"
	if r.Exit != "" {
		who = "the resolver of the resource's exit"
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound:
		return &tunnel.Error{Code: tunnel.NoSuchName, Reason: fmt.Sprintf("%s knows no address for %s", who, name)}
	case isTimeout(err):
		return &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("%s did not answer for %s in time", who, name)}
	case ok:
		return &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("%s failed for %s: %s", who, name, dns.Err)}
	}
	return &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("%s failed for %s: %v", who, name, err)}
}
