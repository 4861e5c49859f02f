package flow

import (
	"maps"
	"sync"
)

// maxOthers bounds the ports that one Others remembers.
const maxOthers = 256

// Others has the ports beside a target's own that datagrams have come from, by what
// identifies one for its owner. The zero value is empty. It is safe for concurrent use.
type Others[K comparable] struct {
	mu    sync.Mutex
	reply map[K]func(b []byte) bool
}

// Set notes how to reply to key, which was heard just now.
func (o *Others[K]) Set(key K, reply func(b []byte) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reply == nil {
		o.reply = make(map[K]func(b []byte) bool)
	}
	if _, known := o.reply[key]; !known && len(o.reply) >= maxOthers {
		for old := range o.reply { // any of them: such datagrams are rare
			delete(o.reply, old)
			break
		}
	}
	o.reply[key] = reply
}

// Get returns how to reply to key; nil if nothing has come from it.
func (o *Others[K]) Get(key K) func(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reply[key]
}

// DeleteFunc forgets the keys for which of returns true.
func (o *Others[K]) DeleteFunc(of func(key K) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.reply, func(key K, _ func(b []byte) bool) bool { return of(key) })
}
