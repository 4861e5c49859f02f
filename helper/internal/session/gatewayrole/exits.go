package gatewayrole

import (
	"context"
	"fmt"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"net/netip"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/gateway/exit"
	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/rs/zerolog"
)

// Exits keeps the exits of a session open while its resources name them. Calls must
// not overlap, except with SetCredentials.
type Exits struct {
	log         zerolog.Logger
	names       dial.Resolver
	open        map[string]exit.Exit // by what resources name
	credentials atomic.Pointer[map[string]resource.Credentials]
}

// NewExits returns an Exits with none open. Names finds the addresses of peers
// and proxies; nil means this machine's resolver.
func NewExits(log zerolog.Logger, names dial.Resolver) *Exits {
	return &Exits{log: log, names: names, open: map[string]exit.Exit{}}
}

// SetCredentials replaces the credentials of proxies, by their URLs.
func (x *Exits) SetCredentials(c map[string]resource.Credentials) { x.credentials.Store(&c) }

// machine gives exits the resolver and the credentials of this machine.
type machine struct {
	names dial.Resolver
	*systemdns.Resolver
	credentials *atomic.Pointer[map[string]resource.Credentials]
}

// LookupNetIP implements exit.System.
func (m machine) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	return m.names.LookupNetIP(ctx, name)
}

// Credentials implements exit.System.
func (m machine) Credentials(proxy string) (c resource.Credentials, ok bool) {
	if known := m.credentials.Load(); known != nil {
		c, ok = (*known)[proxy]
	}
	return c, ok
}

// Use opens the exits that wanted describes. It returns these and those that were
// open before.
func (x *Exits) Use(wanted map[string]resource.Exit) map[string]dial.Exit {
	system := machine{names: x.names, Resolver: new(systemdns.Resolver), credentials: &x.credentials}
	if system.names == nil {
		system.names = new(dial.SystemResolver)
	}
	for via, settings := range wanted {
		if x.open[via] == nil {
			x.open[via] = exit.New(settings, system, x.log)
		}
	}
	ways := make(map[string]dial.Exit, len(x.open))
	for via, way := range x.open {
		ways[via] = way
	}
	return ways
}

// Keep closes the exits that wanted does not describe.
func (x *Exits) Keep(wanted map[string]resource.Exit) {
	for via, way := range x.open {
		if _, ok := wanted[via]; !ok {
			_ = way.Close()
			delete(x.open, via)
		}
	}
}

// ByWay replaces the name of r's exit by where it leads, and adds that exit to
// wanted. Named has the exits by name, and place says where they are written. ByWay
// returns what is wrong, or "": named does not have the exit, or the exit cannot do
// what the resource asks for.
func ByWay(r *resource.Resource, named, wanted map[string]resource.Exit, place string) string {
	if r.Exit == "" {
		return ""
	}
	e, ok := named[r.Exit]
	switch {
	case !ok:
		return fmt.Sprintf("%q names the exit %q, which %s does not have", r.Name, r.Exit, place)
	case r.Resolve == resource.ByExit && e.Type != resource.Proxy:
		return fmt.Sprintf("%q has \"resolve\": \"exit\", which is for exits of type proxy: a WireGuard profile resolves by its own DNS anyway", r.Name)
	}
	r.Exit = e.Via(r.Exit)
	wanted[r.Exit] = e
	return ""
}
