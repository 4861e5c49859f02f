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
	// nameLife is how long the addresses of a name serve for other connections,
	// from when they were asked for. Nobody tells how long they last, so it is no
	// more than what connections that come together share.
	nameLife     = time.Second
	maxNames     = 1024
	maxNameBytes = 256 << 10

	// interfacesLife is that for the addresses of the machine's interfaces. An
	// address is dialled up to seconds after it was judged, so this adds little to
	// what a judgement may miss.
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

// LookupIPv6 implements ipv6Resolver. There is no address if the resolver below waits
// for all.
func (r *recentNames) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	if late, ok := r.by.(ipv6Resolver); ok {
		return late.LookupIPv6(ctx, name)
	}
	return nil, nil
}

// recentInterfaces returns what list does, at most interfacesLife old. Its result
// is shared: it must not be changed.
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
