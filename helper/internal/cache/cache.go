// Package cache keeps fetched values for as long as they last, within bounds, and
// fetches a value once for all who ask for it at the same time.
package cache

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Cache keeps values by key. When it is full, the value that was used least recently
// goes. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	maxEntries, maxBytes int

	mu      sync.Mutex
	calls   map[K]*call[V]
	entries map[K]*list.Element
	recent  list.List // of *entry[K, V], the one used last in front
	bytes   int
}

// Fetched is a value and how it may be kept.
type Fetched[V any] struct {
	Value V
	Life  time.Duration // for how long, counted from the start of the fetch; 0 or less: not kept
	Size  int           // memory of the value, in bytes
}

type entry[K comparable, V any] struct {
	key   K
	value V
	size  int
	since time.Time
	until time.Time
}

// call is one fetch. Its fields are valid once done is closed.
type call[V any] struct {
	done      chan struct{}
	value     V
	since     time.Time
	err       error
	abandoned bool // the context of the caller that fetches has ended
}

// New returns an empty Cache of at most that many values and bytes.
func New[K comparable, V any](maxEntries, maxBytes int) *Cache[K, V] {
	return &Cache[K, V]{maxEntries: maxEntries, maxBytes: maxBytes, calls: map[K]*call[V]{}, entries: map[K]*list.Element{}}
}

// Get returns the value of key, kept or fetched, and when its fetch began. fetch runs
// once for all who ask meanwhile and must end with its ctx, which is that of the first
// of them. If that one gives up, another fetches. An error of fetch is returned to all
// who wait, and not kept.
func (c *Cache[K, V]) Get(ctx context.Context, key K, fetch func(ctx context.Context) (Fetched[V], error)) (value V, since time.Time, err error) {
	for {
		c.mu.Lock()
		if e := c.find(key, time.Now()); e != nil {
			c.mu.Unlock()
			return e.value, e.since, nil
		}
		under, ok := c.calls[key]
		if !ok {
			under = &call[V]{done: make(chan struct{}), since: time.Now()}
			c.calls[key] = under
			go c.run(ctx, key, under, fetch)
		}
		c.mu.Unlock()
		select {
		case <-under.done:
			if under.err != nil && under.abandoned && ctx.Err() == nil {
				continue // the caller that asked has given up: that says nothing about the value
			}
			return under.value, under.since, under.err
		case <-ctx.Done():
			return value, since, context.Cause(ctx)
		}
	}
}

// Has reports whether Get returns the value of key without a fetch now.
func (c *Cache[K, V]) Has(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(key, time.Now()) != nil
}

func (c *Cache[K, V]) run(ctx context.Context, key K, under *call[V], fetch func(ctx context.Context) (Fetched[V], error)) {
	f, err := fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	under.value, under.err, under.abandoned = f.Value, err, ctx.Err() != nil
	if c.calls[key] == under { // not cleared meanwhile
		delete(c.calls, key)
		if err == nil && f.Life > 0 {
			c.put(&entry[K, V]{key, f.Value, f.Size, under.since, under.since.Add(f.Life)})
		}
	}
	close(under.done)
}

// Clear forgets everything. What is being fetched reaches those who wait for it, and
// is not kept.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.calls)
	clear(c.entries)
	c.recent.Init()
	c.bytes = 0
}

// Len returns the number of values and of bytes that are kept.
func (c *Cache[K, V]) Len() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.bytes
}

func (c *Cache[K, V]) find(key K, now time.Time) *entry[K, V] {
	el := c.entries[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*entry[K, V])
	if !now.Before(e.until) {
		c.remove(el)
		return nil
	}
	c.recent.MoveToFront(el)
	return e
}

func (c *Cache[K, V]) put(e *entry[K, V]) {
	if old := c.entries[e.key]; old != nil {
		c.remove(old)
	}
	c.entries[e.key] = c.recent.PushFront(e)
	c.bytes += e.size
	for c.bytes > c.maxBytes || len(c.entries) > c.maxEntries {
		c.remove(c.recent.Back())
	}
}

func (c *Cache[K, V]) remove(el *list.Element) {
	e := c.recent.Remove(el).(*entry[K, V])
	delete(c.entries, e.key)
	c.bytes -= e.size
}
