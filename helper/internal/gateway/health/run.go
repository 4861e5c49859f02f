package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Run tests the resources that are due, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.o.Look)
	defer tick.Stop()
	network := k.o.Network()
	for {
		k.test(ctx, k.due(time.Now()))
		looked := wall() // a round may take longer than a sleep
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-tick.C:
		}
		at, now := wall(), k.o.Network()
		if now != network || at.Sub(looked) > 10*k.o.Look {
			k.moved() // to another network, or the machine has slept
		}
		network = now
	}
}

// wall returns the time without the monotonic clock, which stops while a machine sleeps.
func wall() time.Time { return time.Now().Round(0) }

// moved makes every resource due.
func (k *Keeper) moved() {
	now := time.Now()
	k.mu.Lock()
	if now.Sub(k.movedAt) > time.Minute {
		k.moves = 0
	}
	// Interfaces that come and go all the time cause ever fewer tests.
	due := now.Add(k.o.Settle << min(k.moves, 5))
	k.movedAt, k.moves = now, k.moves+1
	for _, r := range k.records {
		r.due, r.fails = due, 0
		if r.Many {
			r.Report = Report{Since: now} // what worked there tells nothing about here
		}
	}
	k.mu.Unlock()
	k.o.Changed()
}

// due returns the resources to test.
func (k *Keeper) due(now time.Time) (list []*record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.records {
		if !r.Many && !r.due.IsZero() && !r.due.After(now) {
			list = append(list, r)
		}
	}
	return list
}

// CheckAll tests every resource that a test can tell about, and returns when that is
// done or ctx has ended.
func (k *Keeper) CheckAll(ctx context.Context) {
	var list []*record
	k.mu.Lock()
	for _, r := range k.records {
		if !r.Many {
			list = append(list, r)
		}
	}
	k.mu.Unlock()
	k.test(ctx, list)
}

// test tests some resources, a few at a time, each after a random delay. Rounds do not
// overlap.
func (k *Keeper) test(ctx context.Context, list []*record) {
	if len(list) == 0 {
		return
	}
	select {
	case k.round <- struct{}{}:
		defer func() { <-k.round }()
	case <-ctx.Done():
		return
	}
	queue := make(chan *record)
	var wg sync.WaitGroup
	for range min(k.o.Places, len(list)) {
		wg.Go(func() {
			for r := range queue {
				k.testOne(ctx, r)
			}
		})
	}
	for _, r := range list {
		queue <- r
	}
	close(queue)
	wg.Wait()
}

func (k *Keeper) testOne(ctx context.Context, r *record) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(rand.N(k.o.Jitter)):
	}
	k.mu.Lock()
	name, port, current := r.Name, r.Port, k.records[r.Name] == r
	k.mu.Unlock()
	if !current {
		return
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, k.o.Timeout)
	o, ok := k.o.Test(within, name, port)
	cancel()
	if ctx.Err() != nil {
		return
	}
	changed := false
	k.mu.Lock()
	switch {
	case k.records[name] != r || r.Checked.After(began): // a connection that has told since then knows better
	case ok:
		changed = k.take(r, o, time.Now())
	default:
		r.due = time.Now().Add(k.o.Again)
	}
	k.mu.Unlock()
	if changed {
		k.o.Changed()
	}
}
