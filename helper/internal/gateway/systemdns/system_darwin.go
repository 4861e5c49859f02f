package systemdns

import (
	"context"
	"errors"
	"net"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// system is macOS's way: the system's resolver, which knows scoped and VPN
// resolvers, and where that cannot be talked to, what Go's library has of it.
// Not verified by execution so far: only what is around it is tested.
type system struct{}

func (system) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	m, err := responder{path: "/var/run/mDNSResponder"}.query(ctx, q)
	if errors.Is(err, errResponder) {
		return byLibrary(ctx, net.DefaultResolver, q)
	}
	return m, err
}
