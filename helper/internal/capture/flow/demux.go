package flow

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// Bounds of the datagrams of one Demux that wait for their flows.
const (
	maxBoxes   = 2048    // exchanges at a time
	maxQueued  = 16      // datagrams of one exchange
	maxWaiting = 1 << 20 // bytes of all
)

// Demux gives each datagram that arrives at one socket to the exchange of its key,
// such as the address of the client. Take must not be called after Wait.
type Demux[K comparable] struct {
	Gateway *Gateway
	Context context.Context // ends the exchanges
	// Open opens the flow of a key.
	Open func(ctx context.Context, key K, who owner.Owner) (net.Conn, error)
	// Deliver passes what the target of a key sends to the program.
	Deliver func(key K, b []byte)
	// DeliverFrom is Program.DeliverFrom; nil drops such datagrams.
	DeliverFrom func(key K, port uint16, b []byte, reply func(b []byte) bool)
	// Refused is Program.Refused; may be nil.
	Refused func(key K)
	// Failed is told why the target of a key was not reached; may be nil.
	Failed func(key K, err error)
	// Ended is told that a flow of a key has ended, before the next one begins; may be
	// nil.
	Ended func(key K)

	waiting atomic.Int64
	wg      sync.WaitGroup

	mu    sync.Mutex
	boxes map[K]*box[K]
}

var errClosed = errors.New("the exchange has ended")

// box holds the datagrams of one key until its exchange takes them.
type box[K comparable] struct {
	d      *Demux[K]
	key    K
	queue  chan mail
	closed chan struct{} // by Ended
	once   sync.Once
}

type mail struct {
	chunk *netx.Chunk
	who   owner.Owner
}

// Take passes a copy of b on. It does not wait: a datagram for which there is no
// room is lost, as on any network.
func (d *Demux[K]) Take(key K, who owner.Owner, b []byte) {
	if d.waiting.Load() >= maxWaiting {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.boxes[key]
	if x == nil {
		if len(d.boxes) >= maxBoxes || d.Context.Err() != nil {
			return
		}
		x = &box[K]{d: d, key: key, queue: make(chan mail, maxQueued), closed: make(chan struct{})}
		if d.boxes == nil {
			d.boxes = make(map[K]*box[K])
		}
		d.boxes[key] = x
		d.wg.Go(x.run)
	}
	if len(x.queue) == cap(x.queue) {
		return
	}
	chunk := netx.NewChunk(max(len(b), 1))
	copy(chunk.Room(), b)
	chunk.Grow(len(b))
	d.waiting.Add(int64(len(b)))
	x.queue <- mail{chunk, who}
}

// Wait waits for the exchanges, which end with Context.
func (d *Demux[K]) Wait() { d.wg.Wait() }

func (x *box[K]) run() {
	x.d.Gateway.Exchange(x.d.Context, x, func(ctx context.Context, who owner.Owner) (net.Conn, error) {
		return x.d.Open(ctx, x.key, who)
	})
	x.leave()
	for len(x.queue) > 0 { // these came while the flow ended
		m := <-x.queue
		chunk := x.taken(m)
		x.d.Take(x.key, m.who, chunk.Bytes())
		chunk.Release()
	}
}

// leave makes the next datagram of the key begin another exchange.
func (x *box[K]) leave() {
	x.d.mu.Lock()
	defer x.d.mu.Unlock()
	if x.d.boxes[x.key] == x {
		delete(x.d.boxes, x.key)
	}
}

func (x *box[K]) taken(m mail) *netx.Chunk {
	x.d.waiting.Add(-int64(m.chunk.Len()))
	return m.chunk
}

// Receive implements Program.
func (x *box[K]) Receive() (*netx.Chunk, owner.Owner, error) {
	select {
	case <-x.closed:
		return nil, owner.Owner{}, errClosed
	default:
	}
	select {
	case m := <-x.queue:
		return x.taken(m), m.who, nil
	case <-x.closed:
	case <-x.d.Context.Done():
	}
	return nil, owner.Owner{}, errClosed
}

// Deliver implements Program.
func (x *box[K]) Deliver(b []byte) { x.d.Deliver(x.key, b) }

// DeliverFrom implements Program.
func (x *box[K]) DeliverFrom(port uint16, b []byte, reply func(b []byte) bool) {
	if x.d.DeliverFrom != nil {
		x.d.DeliverFrom(x.key, port, b, reply)
	}
}

// Refused implements Program.
func (x *box[K]) Refused() {
	if x.d.Refused != nil {
		x.d.Refused(x.key)
	}
}

// Late implements Program. Ended has made way for another exchange of the key.
func (x *box[K]) Late(b []byte, who owner.Owner) bool {
	select {
	case <-x.closed:
		x.d.Take(x.key, who, b)
		return true
	default:
		return false
	}
}

// Ended implements Program.
func (x *box[K]) Ended(err error) {
	if err != nil && x.d.Failed != nil {
		x.d.Failed(x.key, err)
	}
	if x.d.Ended != nil {
		x.d.Ended(x.key)
	}
	x.leave()
	x.once.Do(func() { close(x.closed) })
}
