package systemdns

import (
	"context"
	"net"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// system is macOS's way: the system's resolver, which knows scoped and VPN resolvers.
// Not verified by execution so far: only what is around it is tested.
type system struct{}

func (system) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	return byLibrary(ctx, net.DefaultResolver, q)
}
