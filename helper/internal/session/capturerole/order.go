package capturerole

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture"
)

// asleepAfter is how long a session must be without a moving link to count as asleep.
// That is longer than an editor takes to reconnect on a good network.
const asleepAfter = 5 * time.Second

// order decides which session serves a name that several of them claim: one that is
// awake before one that is asleep, and then the older one. So a laptop that sleeps
// leaves its names to the one in use, and has them back when it returns. Between two
// that are awake, a session with the name itself does not yield to a wildcard.
type order struct {
	mu      sync.Mutex
	members []*place // the oldest first

	refreshing sync.Mutex
}

// place is a session's place in an order.
type place struct {
	in      *order
	member  capture.Member
	awake   bool // guarded by in.mu
	changed chan struct{}
}

// join adds a capture. Moving returns what carrier.Conn.Moving does. Leave takes the
// capture out again.
func (o *order) join(m capture.Member, moving func() <-chan struct{}) (_ capture.Place, leave func()) {
	p := &place{in: o, member: m, changed: make(chan struct{}, 1)}
	o.mu.Lock()
	p.awake = moves(moving)
	o.members = append(o.members, p)
	o.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.follow(ctx, moving) })
	return p, func() {
		stop()
		wg.Wait()
		o.mu.Lock()
		o.members = slices.DeleteFunc(o.members, func(other *place) bool { return other == p })
		o.mu.Unlock()
		o.refresh()
	}
}

func moves(moving func() <-chan struct{}) bool {
	select {
	case <-moving():
		return true
	default:
		return false
	}
}

// follow watches the session's link until ctx ends.
func (p *place) follow(ctx context.Context, moving func() <-chan struct{}) {
	t := time.NewTicker(asleepAfter / 5)
	defer t.Stop()
	last := time.Now() // when it moved
	for {
		var wakes <-chan struct{}
		if p.Asleep() {
			wakes = moving()
		}
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
			p.in.refreshOthers()
		case <-wakes:
			last = time.Now()
			p.set(true)
		case <-t.C:
			if moves(moving) {
				last = time.Now()
			} else if time.Since(last) >= asleepAfter {
				p.set(false)
			}
		}
	}
}

// Asleep implements capture.Place.
func (p *place) Asleep() bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return !p.awake
}

func (p *place) set(awake bool) {
	p.in.mu.Lock()
	was := p.awake
	p.awake = awake
	p.in.mu.Unlock()
	if was != awake {
		p.in.refreshOthers()
	}
}

// Changed implements capture.Place.
func (p *place) Changed() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Elsewhere implements capture.Place.
func (p *place) Elsewhere(network, host string, port uint16) bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	own := p.member.Claims(network, host, port)
	older := true
	for _, other := range p.in.members {
		if other == p {
			older = false
			continue
		}
		if other.awake == p.awake && !older || p.awake && !other.awake {
			continue
		}
		least := own
		if other.awake != p.awake {
			least = capture.ByDomain
		}
		if claim := other.member.Claims(network, host, port); claim != capture.NoClaim && claim >= least {
			return true
		}
	}
	return false
}

// refreshOthers is refresh, unless there is only one session.
func (o *order) refreshOthers() {
	o.mu.Lock()
	alone := len(o.members) < 2
	o.mu.Unlock()
	if !alone {
		o.refresh()
	}
}

// refresh has every session serve what is its own now. A session that gives a name up
// does so before another one takes it: those that go last come first.
func (o *order) refresh() {
	o.refreshing.Lock()
	defer o.refreshing.Unlock()
	o.mu.Lock()
	var list []*place
	for _, awake := range []bool{true, false} {
		for _, p := range o.members {
			if p.awake == awake {
				list = append(list, p)
			}
		}
	}
	o.mu.Unlock()
	for _, p := range slices.Backward(list) {
		p.member.Refresh()
	}
}
