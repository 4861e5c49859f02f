//go:build linux

// Package wan emulates a wide-area network between two hosts that are close
// together. It relays TCP connections and datagrams with a delay, a rate and a bound
// on the bytes in flight, and is fast enough to add no limit of its own.
//
// It ends TCP at its own two sockets. So measurements through it contain neither the
// slow start nor the loss of a real network.
package wan

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Path describes a network path, the same in both directions.
type Path struct {
	// Delay is the time that each byte takes: half of the round trip.
	Delay time.Duration
	// Rate is the limit that all connections share, in bytes per second; 0 is none.
	Rate int64
	// InFlight bounds the bytes of each direction of each connection that were taken
	// and whose delivery the sender does not know of yet, as the window of a channel
	// does; 0 is no bound.
	InFlight int
}

const (
	// queueTime is the length of the queue of a path with a rate.
	queueTime = 20 * time.Millisecond
	// dropTime is the same for datagrams; a longer queue drops them.
	dropTime = 100 * time.Millisecond
	// socketBuffer keeps the kernel's buffers smaller than the queue.
	socketBuffer = 64 << 10
	// largestChunk bounds the bytes of one read.
	largestChunk = 256 << 10
	// fastest is the rate in bytes per second up to which a path without a limit can
	// hold all bytes in flight.
	fastest = 4 << 30
)

// backlog bounds the memory of one direction of a connection.
func (p Path) backlog() int {
	return max(8<<20, int(p.Delay.Seconds()*fastest))
}

func (p Path) chunkSize() int {
	if p.Rate > 0 {
		return 8 << 10
	}
	if p.InFlight > 0 {
		return 32 << 10
	}
	return largestChunk
}

// Relay relays along one Path. All its connections share the rate.
type Relay struct {
	path     Path
	up, down *narrow
}

// New returns a relay for p.
func New(p Path) *Relay {
	return &Relay{path: p, up: new(narrow), down: new(narrow)}
}

// ServeTCP joins each connection of ln to one to addr. With handshake, the
// round trip that connecting would take is charged before the first byte.
func (r *Relay) ServeTCP(ln net.Listener, addr string, handshake bool) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if handshake {
				sleepUntil(time.Now().Add(2*r.path.Delay), nil)
			}
			d := net.Dialer{Timeout: 10 * time.Second, Control: r.control}
			s, err := d.DialContext(context.Background(), "tcp", addr)
			if err != nil {
				// The server refuses, or the client has reset the connection already.
				_ = c.(*net.TCPConn).SetLinger(0)
				return
			}
			defer s.Close()
			var both sync.WaitGroup
			both.Go(func() { r.pump(s, c, r.up) })
			both.Go(func() { r.pump(c, s, r.down) })
			both.Wait()
		}()
	}
}

// Listen listens with the socket buffers that a path with a rate needs.
func (r *Relay) Listen(ctx context.Context, addr string) (net.Listener, error) {
	l := net.ListenConfig{Control: r.control}
	return l.Listen(ctx, "tcp", addr)
}

func (r *Relay) control(_, _ string, c syscall.RawConn) error {
	if r.path.Rate == 0 {
		return nil
	}
	var err error
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}

func (r *Relay) pump(dst, src net.Conn, n *narrow) {
	p := Pump{Path: func() Path { return r.path }, narrow: n}
	_ = p.Copy(dst, src) // it has reset both
}

// Pump copies one direction of a connection along a path that may change.
type Pump struct {
	// Path returns the path for the next bytes.
	Path func() Path
	// Open waits until bytes may be delivered; false ends the connection. Nil
	// lets bytes pass at all times.
	Open func() bool
	// Moved is called with the number of bytes delivered each time; nil ignores it.
	Moved func(n int)
	// Done ends the copy when it is closed; nil never does.
	Done <-chan struct{}

	narrow *narrow // shared with other pumps; nil: the pump has its own
}

// Copy copies from src to dst until src ends, and then passes the FIN on. An
// error resets both connections at once. Copy returns when it uses neither any more.
func (p Pump) Copy(dst, src net.Conn) error {
	if p.Open == nil {
		p.Open = func() bool { return true }
	}
	if p.Moved == nil {
		p.Moved = func(int) {}
	}
	largest := largestChunk
	if p.narrow == nil {
		// While the pump waits for bytes the path may get a bound, which the next
		// chunk should not exceed by much.
		p.narrow, largest = new(narrow), 32<<10
	}
	q := newPipe(p.Path, largest)
	var filling sync.WaitGroup
	filling.Go(func() {
		err := q.fill(src, p.narrow)
		if err != nil {
			Reset(src)
			Reset(dst)
		}
		q.finish(err)
	})
	drained := make(chan struct{})
	filling.Go(func() {
		select {
		case <-p.Done:
			q.abandon()
		case <-drained:
		}
	})
	err := q.drain(dst, p.Open, p.Moved)
	if err == nil {
		err = closeWrite(dst)
	}
	if err != nil {
		Reset(src)
		Reset(dst)
	}
	close(drained)
	q.abandon()
	filling.Wait()
	return err
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Reset closes c with a reset, as a lost connection looks sooner or later.
func Reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// narrow is the place of a path where its rate is. The zero value is ready for use.
type narrow struct {
	mu   sync.Mutex // held while waiting, so that all are served in turn
	free time.Time  // when all bytes so far are through
}

// pass waits for a place in the queue and returns when n bytes will be through
// at a rate, which is 0 for no limit. It waits no longer than until gone is closed.
func (w *narrow) pass(n int, rate int64, gone <-chan struct{}) time.Time {
	if rate == 0 {
		return time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.free.Before(now) {
		w.free = now
	}
	sleepUntil(w.free.Add(-queueTime), gone)
	w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return w.free
}

// offer is pass for datagrams: ok is false if there is no place.
func (w *narrow) offer(n int, rate int64) (through time.Time, ok bool) {
	now := time.Now()
	if rate == 0 {
		return now, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free.Before(now) {
		w.free = now
	}
	if w.free.Sub(now) > dropTime {
		return now, false
	}
	w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return w.free, true
}

// sleepUntil is exact to about 50 µs, where time.Sleep is to a millisecond. It
// returns false at once when gone is closed.
func sleepUntil(t time.Time, gone <-chan struct{}) bool {
	const coarse = 1200 * time.Microsecond
	if d := time.Until(t); d > coarse {
		timer := time.NewTimer(d - coarse)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-gone:
			return false
		}
	}
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil)
	}
	return true
}
