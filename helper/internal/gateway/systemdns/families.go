package systemdns

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// ipv6Delay is how long the addresses of IPv4 wait for those of IPv6 (RFC 8305,
	// section 3).
	ipv6Delay = 50 * time.Millisecond
	// After ipv6Misses look-ups in a row without an answer for IPv6, look-ups do not ask
	// for IPv6 during ipv6Pause: some DNS servers drop these questions.
	ipv6Misses = 3
	ipv6Pause  = time.Minute
)

// Families looks up the addresses of both families at the same time. It waits only
// a moment for IPv6 when there are addresses of IPv4. It is safe for concurrent use;
// the zero value is ready.
type Families struct {
	mu     sync.Mutex
	missed int // look-ups in a row
	pause  time.Time
}

type familyAnswer struct {
	addrs []netip.Addr
	err   error
}

// LookUp returns the addresses that look finds for the networks "ip4" and "ip6",
// those of IPv4 first. look must end with its ctx. If there is no address, the error is
// that of IPv4. If IPv4 says that the name does not exist, it is that of IPv6.
func (f *Families) LookUp(ctx context.Context, look func(ctx context.Context, network string) ([]netip.Addr, error)) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := func(network string) <-chan familyAnswer {
		done := make(chan familyAnswer, 1)
		go func() {
			addrs, err := look(ctx, network)
			done <- familyAnswer{addrs, err}
		}()
		return done
	}
	var six <-chan familyAnswer
	if !f.pausing(time.Now()) {
		six = begin("ip6")
	}
	four := <-begin("ip4")
	if len(four.addrs) == 0 {
		if six == nil {
			six = begin("ip6")
		}
		other := <-six
		if len(other.addrs) > 0 {
			return other.addrs, nil
		}
		if isNotFound(four.err) && other.err != nil {
			return nil, other.err
		}
		return nil, four.err
	}
	if six == nil {
		return four.addrs, nil
	}
	delay := time.NewTimer(ipv6Delay)
	defer delay.Stop()
	select {
	case other := <-six:
		f.answered(true)
		return append(four.addrs, other.addrs...), nil
	case <-delay.C:
		f.answered(false)
		return four.addrs, nil
	}
}

func (f *Families) pausing(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.pause)
}

func (f *Families) answered(inTime bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if inTime {
		f.missed = 0
		return
	}
	if f.missed++; f.missed >= ipv6Misses {
		f.missed, f.pause = 0, time.Now().Add(ipv6Pause)
	}
}
