package systemdns

import (
	"context"
	"errors"
	"net"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// system asks the resolver of macOS, which knows scoped and VPN resolvers. If its socket
// cannot be used, system asks Go's library instead. This file has not been run on macOS:
// only the code that it calls is tested.
type system struct{}

func (system) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	m, err := responder{path: "/var/run/mDNSResponder"}.query(ctx, q)
	if errors.Is(err, errResponder) {
		return byLibrary(ctx, net.DefaultResolver, q)
	}
	return m, err
}
