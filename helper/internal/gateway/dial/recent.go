package dial

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// nameLife is how long the addresses of a name serve for other connections,
	// from when they were asked for. Nobody tells how long they last, so it is no
	// more than what connections that come together share.
	nameLife = time.Second
	maxNames = 1024

	// interfacesLife is that for the addresses of the machine's interfaces. An
	// address is dialled up to seconds after it was judged, so this adds little to
	// what a judgement may miss.
	interfacesLife = 50 * time.Millisecond
)

// recentNames is a Resolver that asks once for the connections that come within
// a moment. An error is shared with those who wait for it, and not kept.
type recentNames struct {
	by     Resolver
	asking singleflight.Group

	mu    sync.Mutex
	known map[string]recentName
}

type recentName struct {
	addrs []netip.Addr
	until time.Time
}

func newRecentNames(by Resolver) *recentNames {
	return &recentNames{by: by, known: make(map[string]recentName)}
}

// LookupNetIP implements Resolver.
func (r *recentNames) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	type answer struct {
		addrs     []netip.Addr
		err       error
		abandoned bool
	}
	for {
		if addrs := r.lookUp(name, time.Now()); addrs != nil {
			return addrs, nil
		}
		done := r.asking.DoChan(name, func() (any, error) {
			until := time.Now().Add(nameLife)
			addrs, err := r.by.LookupNetIP(ctx, name)
			if err == nil && len(addrs) > 0 {
				r.put(name, recentName{addrs, until})
			}
			return answer{addrs, err, ctx.Err() != nil}, nil
		})
		select {
		case result := <-done:
			a := result.Val.(answer)
			if a.err != nil && a.abandoned && ctx.Err() == nil {
				continue // whoever asked has given up: that says nothing about the name
			}
			return slices.Clone(a.addrs), a.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *recentNames) lookUp(name string, now time.Time) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[name]
	if !ok {
		return nil
	}
	if !now.Before(known.until) {
		delete(r.known, name)
		return nil
	}
	return slices.Clone(known.addrs)
}

func (r *recentNames) put(name string, n recentName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxNames {
		clear(r.known)
	}
	r.known[name] = n
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
