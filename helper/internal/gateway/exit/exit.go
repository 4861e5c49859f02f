// Package exit holds the ways from the gateway into a private network other
// than the machine's own: a WireGuard profile run in user space, and an upstream
// proxy. It judges nothing: the gateway judges what an exit resolves, and has it
// dial those addresses. There is no support for PAC files.
package exit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/miekg/dns"
	"github.com/rs/zerolog"
)

// Exit is one way into a private network. What it returns is closed by the
// caller, and ends with the exit.
type Exit interface {
	// Dial opens a connection to a literal address, as netx.DialFunc, or by a
	// proxy to a name. An error that is a *tunnel.Error is the answer to the flow.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// LookupNetIP finds the addresses of a name in normal form, as
	// gateway.Resolver does.
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
	// Query finds the records of a name, as systemdns.Resolver does.
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
	// Close ends the exit with everything in it.
	Close() error
}

// System is what an exit has of the machine.
type System interface {
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
	// Credentials returns what a proxy, by its URL, is to be shown.
	Credentials(proxy string) (c resource.Credentials, ok bool)
}

// New returns the exit that the settings describe. It does no I/O.
func New(e resource.Exit, system System, log zerolog.Logger) Exit {
	if e.Type == resource.WireGuard {
		return newWireGuard(e.File, system, log)
	}
	return &upstream{url: e.URL, System: system}
}

// Check reads what an exit's settings name, and uses nothing of it. An error says
// why it will not do what it is for; limits say what it does without.
func Check(e resource.Exit) (limits []string, err error) {
	if e.Type != resource.WireGuard {
		return nil, nil
	}
	p, err := readProfile(e.File)
	if err != nil {
		return nil, err
	}
	at, beyond := p.nameServers()
	switch {
	case len(p.dns) == 0:
		return []string{"it has no DNS, so it reaches addresses but no names"}, nil
	case len(at) == 0:
		return nil, errors.New(strings.Join(beyond, "; "))
	}
	return beyond, nil
}
