//go:build linux && (amd64 || arm64)

package run

import (
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxRecent  = 1024
	recentTime = time.Second // that a new resource may take to be seen
)

// asked is a destination for which the captures were asked.
type asked struct {
	network tunnel.Network
	target  netip.AddrPort
}

// recent remembers for a moment the destinations that no capture covers. So a
// program that sends many datagrams there does not cause a question for each of
// them. The zero value is empty.
type recent struct {
	mu    sync.Mutex
	until map[asked]time.Time
}

func (r *recent) has(k asked) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until[k])
}

func (r *recent) add(k asked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil || len(r.until) >= maxRecent {
		r.until = make(map[asked]time.Time)
	}
	r.until[k] = time.Now().Add(recentTime)
}
