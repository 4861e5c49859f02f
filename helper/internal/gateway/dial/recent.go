package dial

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/cache"
)

const (
	// nameLife is how long the addresses of a name serve for other connections, counted
	// from the question. The system does not tell the TTL, so the time is short: it
	// lets connections that come together share one look-up.
	nameLife     = time.Second
	maxNames     = 1024
	maxNameBytes = 256 << 10

	// interfacesLife is how long the list of the machine's interfaces serves. A dial may
	// last seconds after the judgement, so the list is hardly less exact for that.
	interfacesLife = 50 * time.Millisecond
)

// recentNames is a Resolver that asks once for the connections that come within
// a moment. An error is shared with those who wait for it, and not kept.
type recentNames struct {
	by    Resolver
	known *cache.Cache[string, []netip.Addr]
}

func newRecentNames(by Resolver) *recentNames {
	return &recentNames{by, cache.New[string, []netip.Addr](maxNames, maxNameBytes)}
}

// LookupNetIP implements Resolver.
func (r *recentNames) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, _, err := r.known.Get(ctx, name, func(ctx context.Context) (cache.Fetched[[]netip.Addr], error) {
		addrs, err := r.by.LookupNetIP(ctx, name)
		f := cache.Fetched[[]netip.Addr]{Value: addrs, Size: len(name) + len(addrs)*int(unsafe.Sizeof(netip.Addr{}))}
		if len(addrs) > 0 {
			f.Life = nameLife
		}
		return f, err
	})
	return slices.Clone(addrs), err
}

// LookupIPv6 implements ipv6Resolver. It returns no address if the resolver below always
// waits for all addresses.
func (r *recentNames) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	if late, ok := r.by.(ipv6Resolver); ok {
		return late.LookupIPv6(ctx, name)
	}
	return nil, nil
}

// recentInterfaces returns a function that returns the result of list, at most
// interfacesLife old. Callers share the result and must not change it.
func recentInterfaces(list func() ([]netip.Prefix, error)) func() ([]netip.Prefix, error) {
	var mu sync.Mutex
	var own []netip.Prefix
	var until time.Time
	return func() ([]netip.Prefix, error) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if now.Before(until) {
			return own, nil
		}
		fresh, err := list()
		if err != nil {
			return nil, err
		}
		own, until = fresh, now.Add(interfacesLife)
		return own, nil
	}
}
