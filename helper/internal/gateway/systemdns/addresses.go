package systemdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// Querier answers questions as Resolver does.
type Querier interface {
	Query(ctx context.Context, q records.Question) (*dns.Msg, error)
}

// Addresses returns the addresses of a name, those of IPv4 first. The error of a
// name that has none is a *net.DNSError with IsNotFound.
func Addresses(ctx context.Context, by Querier, name string) ([]netip.Addr, error) {
	var answers [2]*dns.Msg
	var errs [2]error
	var both sync.WaitGroup
	for i, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		both.Go(func() { answers[i], errs[i] = by.Query(ctx, records.Question{Name: name, Type: kind}) })
	}
	both.Wait()
	var out []netip.Addr
	for _, m := range answers {
		if m == nil {
			continue
		}
		for _, rr := range m.Answer {
			if a, ok := records.AddressOf(rr); ok {
				out = append(out, a)
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	for i, m := range answers {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			return nil, &net.DNSError{Err: dns.RcodeToString[m.Rcode], Name: name}
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// hostsFile is a resolver that reads only the hosts file.
var hostsFile = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { //nolint:forbidigo // it dials nothing
	return nil, errors.New("hosts file only")
}}

// Listed returns the addresses that the hosts file has for a name.
func Listed(ctx context.Context, name string) ([]netip.Addr, error) {
	return hostsFile.LookupNetIP(ctx, "ip", name)
}
