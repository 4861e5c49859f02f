package records

import (
	"context"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/cache"
	"github.com/miekg/dns"
)

// Bounds of a Cache. An answer that is kept for longer may be wrong since a VPN went
// up or down. A name that does not exist may be about to be created.
const (
	maxEntries      = 4096
	maxBytes        = 2 << 20 // of memory
	entryOverhead   = 400     // of an entry beside its name and its packed message, in bytes
	longest         = 2 * time.Minute
	longestNegative = 10 * time.Second
)

// Cache keeps answers for as long as their records last, within bounds. It is safe
// for concurrent use; the zero value is not ready for it.
type Cache struct {
	answers *cache.Cache[Question, kept]
}

// kept is an answer. A message as such takes many times the memory of its packed form.
type kept struct {
	packed  []byte
	message *dns.Msg // instead, if the answer is not kept
}

// NewCache returns an empty Cache.
func NewCache() *Cache { return &Cache{cache.New[Question, kept](maxEntries, maxBytes)} }

// Get returns the answer to q, from the cache or by fetch. fetch runs once for all who
// ask at the same time and must end with its ctx. Get does not keep its error. The caller
// owns the message. Its TTLs are what is left of them.
func (c *Cache) Get(ctx context.Context, q Question, fetch func(ctx context.Context) (*dns.Msg, error)) (*dns.Msg, error) {
	k, since, err := c.answers.Get(ctx, q, func(ctx context.Context) (cache.Fetched[kept], error) {
		began := time.Now()
		m, err := fetch(ctx)
		if err != nil {
			return cache.Fetched[kept]{}, err
		}
		life := lifetime(m)
		packed, err := m.Pack()
		if life == 0 || err != nil {
			return cache.Fetched[kept]{Value: kept{message: m}}, nil
		}
		return cache.Fetched[kept]{
			Value: kept{packed: packed}, Size: len(packed) + len(q.Name) + entryOverhead,
			Life: life + time.Since(began), // the records' own time begins with the answer
		}, nil
	})
	if err != nil {
		return nil, err
	}
	if k.message != nil {
		return k.message.Copy(), nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(k.packed); err != nil {
		return nil, err
	}
	age := uint32(time.Since(since) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			rr.Header().Ttl -= min(age, rr.Header().Ttl)
		}
	}
	return m, nil
}

// Clear forgets everything, also what is being fetched.
func (c *Cache) Clear() { c.answers.Clear() }

// lifetime returns for how long an answer is kept.
func lifetime(m *dns.Msg) time.Duration {
	life := min(time.Duration(Lifetime(m))*time.Second, longest)
	if len(m.Ns) > 0 {
		life = min(life, longestNegative)
	}
	return life
}
