//go:build linux

package wan

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// pipe is one direction of a connection: the bytes that were taken and have not
// been delivered yet.
type pipe struct {
	path    func() Path // may change from call to call
	largest int         // bounds a chunk
	gone    chan struct{}
	once    sync.Once // closes gone

	mu       sync.Mutex
	changed  sync.Cond
	queue    []chunk
	held     int      // bytes in queue
	credits  []credit // deliveries, the news of which is on its way back
	inFlight int      // bytes taken whose delivery is not known yet
	ended    bool     // nothing will be added
	err      error    // why nothing will be added; nil after a FIN
}

// chunk holds the bytes of one read and the time at which they arrive.
type chunk struct {
	data []byte
	due  time.Time
	full *[]byte // the pooled buffer that data is a part of; nil if there is none
}

type credit struct {
	n   int
	due time.Time
}

// buffers holds buffers of the largest chunk size.
var buffers = sync.Pool{New: func() any { b := make([]byte, largestChunk); return &b }}

func newPipe(path func() Path, largest int) *pipe {
	q := &pipe{path: path, largest: largest, gone: make(chan struct{})}
	q.changed.L = &q.mu
	return q
}

// fill takes bytes from src until src ends or nobody drains any more.
func (q *pipe) fill(src io.Reader, n *narrow) error {
	for {
		room, err := q.room()
		if err != nil {
			return err
		}
		full := buffers.Get().(*[]byte)
		k, err := src.Read((*full)[:min(room, q.largest, q.path().chunkSize())])
		if k > 0 {
			c := chunk{data: (*full)[:k], full: full}
			if k < len(*full)/8 { // do not keep a large buffer for few bytes
				c = chunk{data: append([]byte(nil), c.data...)}
				buffers.Put(full)
			}
			p := q.path() // it may have changed during the read
			c.due = n.pass(k, p.Rate, q.gone).Add(p.Delay)
			q.mu.Lock()
			q.queue = append(q.queue, c)
			q.held += k
			q.inFlight += k
			q.changed.Broadcast()
			q.mu.Unlock()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// room waits until bytes may be taken, and returns how many.
func (q *pipe) room() (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.abandoned() {
			return 0, net.ErrClosed
		}
		now := time.Now()
		for len(q.credits) > 0 && !q.credits[0].due.After(now) {
			q.inFlight -= q.credits[0].n
			q.credits = q.credits[1:]
		}
		p := q.path()
		limit := p.backlog() - q.held
		if p.InFlight > 0 {
			limit = min(limit, p.InFlight-q.inFlight)
		}
		if limit > 0 {
			return limit, nil
		}
		if len(q.credits) > 0 {
			due := q.credits[0].due
			q.mu.Unlock()
			sleepUntil(due, q.gone)
			q.mu.Lock()
			continue
		}
		q.changed.Wait()
	}
}

// drain delivers to dst until the end. It asks open before each chunk, and
// tells moved how many bytes it has delivered.
func (q *pipe) drain(dst io.Writer, open func() bool, moved func(int)) error {
	for {
		q.mu.Lock()
		for len(q.queue) == 0 && !q.ended && !q.abandoned() {
			q.changed.Wait()
		}
		if len(q.queue) == 0 || q.abandoned() {
			err := q.err
			if !q.ended {
				err = net.ErrClosed
			}
			q.mu.Unlock()
			return err
		}
		c := q.queue[0]
		q.queue[0] = chunk{}
		q.queue = q.queue[1:]
		q.mu.Unlock()

		if !sleepUntil(c.due, q.gone) || !open() {
			return net.ErrClosed
		}
		if _, err := dst.Write(c.data); err != nil {
			return err
		}
		moved(len(c.data))
		if c.full != nil {
			buffers.Put(c.full)
		}
		delay := q.path().Delay
		q.mu.Lock()
		q.held -= len(c.data)
		q.credits = append(q.credits, credit{len(c.data), time.Now().Add(delay)})
		q.changed.Broadcast()
		q.mu.Unlock()
	}
}

// finish tells the drain that nothing will be added. After an error it need not
// deliver what is left.
func (q *pipe) finish(err error) {
	q.mu.Lock()
	q.ended, q.err = true, err
	q.changed.Broadcast()
	q.mu.Unlock()
	if err != nil {
		q.abandon()
	}
}

// abandon ends every wait: nothing will be delivered any more.
func (q *pipe) abandon() {
	q.once.Do(func() { close(q.gone) })
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changed.Broadcast()
}

func (q *pipe) abandoned() bool {
	select {
	case <-q.gone:
		return true
	default:
		return false
	}
}
