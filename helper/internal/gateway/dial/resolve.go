package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Resolver finds the addresses of a name in normal form. The error of a name
// that does not exist is a *net.DNSError with IsNotFound.
type Resolver interface {
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
}

// SystemResolver asks as the machine's own programs do.
type SystemResolver struct{}

// LookupNetIP implements Resolver. No search list applies.
func (SystemResolver) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := new(net.Resolver).LookupNetIP(ctx, "ip", name+".")
	if err == nil || strings.Contains(name, ".") {
		return addrs, err
	}
	// With the dot that keeps the search list away, Go finds no single word in
	// the hosts file. This one reads only that.
	files := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { //nolint:forbidigo // it dials nothing
		return nil, errors.New("hosts file only")
	}}
	if listed, fileErr := files.LookupNetIP(ctx, "ip", name); fileErr == nil {
		return listed, nil
	}
	return nil, err
}

// ResolveError turns the failure of the resolver on the way to r into an answer.
// Only what is known not to exist may become NoSuchName: programs remember that.
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
