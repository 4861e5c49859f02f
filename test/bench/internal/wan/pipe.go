//go:build linux

package wan

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// pipe is one direction of a connection: what has been taken and not yet
// delivered.
type pipe struct {
	path Path
	pool sync.Pool

	mu      sync.Mutex
	changed sync.Cond
	queue   []chunk
	held    int      // bytes in queue
	credits []credit // deliveries, of which the news is on its way back
	window  int      // bytes that may be taken; unused without InFlight
	ended   bool     // nothing will be added
	err     error    // how it ended, nil after a FIN
	gone    bool     // nobody drains
}

// chunk is what was read at once, and when it arrives.
type chunk struct {
	data []byte
	due  time.Time
	full *[]byte // the pooled buffer below data, if it is one
}

type credit struct {
	n   int
	due time.Time
}

func newPipe(p Path) *pipe {
	q := &pipe{path: p, window: p.InFlight}
	q.changed.L = &q.mu
	size := p.chunkSize()
	q.pool.New = func() any { b := make([]byte, size); return &b }
	return q
}

// fill takes from src until it ends.
func (q *pipe) fill(src io.Reader, n *narrow) error {
	for {
		room, err := q.room()
		if err != nil {
			return err
		}
		full := q.pool.Get().(*[]byte)
		k, err := src.Read((*full)[:min(room, len(*full))])
		if k > 0 {
			c := chunk{data: (*full)[:k], full: full}
			if k < len(*full)/8 { // do not keep much for little
				c = chunk{data: append([]byte(nil), c.data...)}
				q.pool.Put(full)
			}
			c.due = n.pass(k).Add(q.path.Delay)
			q.mu.Lock()
			q.queue = append(q.queue, c)
			q.held += k
			q.window -= k
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

// room waits until something may be taken, and says how much.
func (q *pipe) room() (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.gone {
			return 0, net.ErrClosed
		}
		now := time.Now()
		for len(q.credits) > 0 && !q.credits[0].due.After(now) {
			q.window += q.credits[0].n
			q.credits = q.credits[1:]
		}
		limit := q.path.backlog() - q.held
		if q.path.InFlight > 0 {
			limit = min(limit, q.window)
		}
		if limit > 0 {
			return limit, nil
		}
		if len(q.credits) > 0 {
			due := q.credits[0].due
			q.mu.Unlock()
			sleepUntil(due)
			q.mu.Lock()
			continue
		}
		q.changed.Wait()
	}
}

// drain delivers to dst until the end.
func (q *pipe) drain(dst io.Writer) error {
	for {
		q.mu.Lock()
		for len(q.queue) == 0 && !q.ended {
			q.changed.Wait()
		}
		if len(q.queue) == 0 {
			err := q.err
			q.mu.Unlock()
			return err
		}
		c := q.queue[0]
		q.queue[0] = chunk{}
		q.queue = q.queue[1:]
		q.mu.Unlock()

		sleepUntil(c.due)
		if _, err := dst.Write(c.data); err != nil {
			return err
		}
		if c.full != nil {
			q.pool.Put(c.full)
		}
		q.mu.Lock()
		q.held -= len(c.data)
		if q.path.InFlight > 0 {
			q.credits = append(q.credits, credit{len(c.data), time.Now().Add(q.path.Delay)})
		}
		q.changed.Broadcast()
		q.mu.Unlock()
	}
}

// finish says that nothing will be added.
func (q *pipe) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.err = true, err
	q.changed.Broadcast()
}

// abandon says that nothing will be delivered any more.
func (q *pipe) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	q.changed.Broadcast()
}

// lane is one direction of the datagrams.
type lane struct {
	delay time.Duration
	n     *narrow
	queue chan chunk
}

func newLane(delay time.Duration, n *narrow, deliver func([]byte)) *lane {
	l := &lane{delay, n, make(chan chunk, 1<<15)}
	go func() {
		for c := range l.queue {
			sleepUntil(c.due)
			deliver(c.data)
		}
	}()
	return l
}

// send drops b if there is no place for it, as networks do.
func (l *lane) send(b []byte) {
	through, ok := l.n.offer(len(b))
	if !ok {
		return
	}
	select {
	case l.queue <- chunk{data: append([]byte(nil), b...), due: through.Add(l.delay)}:
	default:
	}
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
