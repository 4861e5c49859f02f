package systemdns

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// Querier answers questions as Resolver does.
type Querier interface {
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
}

// Addresses returns the addresses of a name, those of IPv4 first. How long it waits for
// IPv6 is up to families. If the name has no address, the error is a *net.DNSError with
// IsNotFound.
func Addresses(ctx context.Context, by Querier, families *Families, name string) ([]netip.Addr, error) {
	return families.LookUp(ctx, func(ctx context.Context, network string) ([]netip.Addr, error) {
		kind := dns.TypeA
		if network == "ip6" {
			kind = dns.TypeAAAA
		}
		return addressesOf(ctx, by, records.Question{Name: name, Type: kind})
	})
}

// IPv6Addresses returns the IPv6 addresses of a name. The error is as that of Addresses.
func IPv6Addresses(ctx context.Context, by Querier, name string) ([]netip.Addr, error) {
	return addressesOf(ctx, by, records.Question{Name: name, Type: dns.TypeAAAA})
}

func addressesOf(ctx context.Context, by Querier, q records.Question) ([]netip.Addr, error) {
	m, err := by.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, rr := range m.Answer {
		if a, ok := records.AddressOf(rr); ok {
			out = append(out, a)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, &net.DNSError{Err: dns.RcodeToString[m.Rcode], Name: q.Name}
	}
	return nil, &net.DNSError{Err: "no such host", Name: q.Name, IsNotFound: true}
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// hostsFile is a resolver that reads only the hosts file.
var hostsFile = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { //nolint:forbidigo // it dials nothing
	return nil, errors.New("hosts file only")
}}

// Listed returns the addresses that the hosts file has for a name.
func Listed(ctx context.Context, name string) ([]netip.Addr, error) {
	return hostsFile.LookupNetIP(ctx, "ip", name)
}
