// Package exit has the exits: ways into a private network other than the machine's own.
// An exit is a WireGuard profile that runs in user space, or an upstream proxy. The
// package judges nothing: the gateway judges the addresses that an exit resolves, and
// has the exit dial them. There is no support for PAC files.
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

// Exit is one way into a private network. The caller closes the connections. Close of
// the exit ends them, too.
type Exit interface {
	// Dial opens a connection to a literal address, as a netx.DialFunc. A proxy also
	// connects to names. An error that is a *tunnel.Error is the answer to the flow.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// LookupNetIP finds the addresses of a name in normal form, as
	// dial.Resolver does.
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
	// Query finds the records of a name, as systemdns.Resolver does.
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
	// Close ends the exit and its connections, and waits for its goroutines.
	Close() error
}

// System is what an exit uses of the machine.
type System interface {
	LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error)
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
	// Credentials returns the credentials for a proxy, by its URL.
	Credentials(proxy string) (c resource.Credentials, ok bool)
}

// New returns the exit that the settings describe. It does no I/O.
func New(e resource.Exit, system System, log zerolog.Logger) Exit {
	if e.Type == resource.WireGuard {
		return newWireGuard(e.File, system, log)
	}
	return &upstream{url: e.URL, System: system}
}

// Check reads the profile of an exit without using it. An error says why the exit cannot
// work. limits are sentences about what the exit cannot do.
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
