package records

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// Bounds of a Cache. What is kept for longer may be wrong since a VPN went up
// or down; that a name is not there is what its user is about to mend.
const (
	maxEntries      = 4096
	maxBytes        = 8 << 20 // of all messages, packed
	longest         = 2 * time.Minute
	longestNegative = 10 * time.Second
)

// Cache keeps answers for as long as their records last, within bounds. It is
// safe for concurrent use; the zero value is not ready for it.
type Cache struct {
	fetches singleflight.Group

	mu      sync.Mutex
	era     int // how often it was cleared
	entries map[Question]*list.Element
	recent  list.List // of *entry, the one used last in front
	bytes   int
}

type entry struct {
	q     Question
	m     *dns.Msg
	size  int
	since time.Time
	until time.Time
}

// NewCache returns an empty Cache.
func NewCache() *Cache { return &Cache{entries: make(map[Question]*list.Element)} }

// Get returns the answer to q, from the cache or by fetch, which runs once for
// all who ask meanwhile and has to end with its ctx. Its error is not kept. The
// message is the caller's; what is left of its lifetime is in its TTLs.
func (c *Cache) Get(ctx context.Context, q Question, fetch func(ctx context.Context) (*dns.Msg, error)) (*dns.Msg, error) {
	for {
		if m := c.lookUp(q, time.Now()); m != nil {
			return m, nil
		}
		done := c.fetches.DoChan(q.Name+" "+dns.Type(q.Type).String(), func() (any, error) {
			c.mu.Lock()
			era := c.era
			c.mu.Unlock()
			m, err := fetch(ctx)
			if err == nil {
				c.put(q, m, era, time.Now())
			}
			return fetched{m, err, ctx.Err() != nil}, nil
		})
		select {
		case r := <-done:
			f := r.Val.(fetched)
			switch {
			case f.err == nil:
				return f.m.Copy(), nil
			case !f.abandoned || ctx.Err() != nil:
				return nil, f.err
			}
			// Whoever asked first has given up: that says nothing about the name.
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

type fetched struct {
	m         *dns.Msg
	err       error
	abandoned bool
}

// Clear forgets everything, what is being fetched too.
func (c *Cache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	c.entries = make(map[Question]*list.Element)
	c.recent.Init()
	c.bytes = 0
}

func (c *Cache) lookUp(q Question, now time.Time) *dns.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[q]
	if el == nil {
		return nil
	}
	e := el.Value.(*entry)
	if !now.Before(e.until) {
		c.remove(el)
		return nil
	}
	c.recent.MoveToFront(el)
	m := e.m.Copy()
	age := uint32(now.Sub(e.since) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			rr.Header().Ttl -= min(age, rr.Header().Ttl)
		}
	}
	return m
}

func (c *Cache) put(q Question, m *dns.Msg, era int, now time.Time) {
	life := min(time.Duration(Lifetime(m))*time.Second, longest)
	if len(m.Ns) > 0 {
		life = min(life, longestNegative)
	}
	if life == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return
	}
	if old := c.entries[q]; old != nil {
		c.remove(old)
	}
	e := &entry{q: q, m: m.Copy(), size: m.Len(), since: now, until: now.Add(life)}
	c.entries[q] = c.recent.PushFront(e)
	c.bytes += e.size
	for c.bytes > maxBytes || len(c.entries) > maxEntries {
		c.remove(c.recent.Back())
	}
}

func (c *Cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*entry)
	delete(c.entries, e.q)
	c.bytes -= e.size
}
