//go:build linux

// Package wan is a long way between two hosts that are close together: it
// relays TCP connections and datagrams with a delay, a rate and a bound on the
// bytes in flight, and is fast enough to be none of the three by itself.
//
// It ends TCP at its own two sockets. So the slow start and the loss of a real
// network are not part of what is measured through it, for anyone.
package wan

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Path is what the way is like, the same in both directions.
type Path struct {
	// Delay is how long every byte is under way: half of the round trip.
	Delay time.Duration
	// Rate is what all connections share, in bytes a second; 0 is no limit.
	Rate int64
	// InFlight bounds the bytes of each direction of each connection between
	// their being taken and the news of their delivery having come back, as the
	// window of a channel does; 0 is no such bound.
	InFlight int
}

const (
	// queueTime is how much the narrow place of a path with a rate holds.
	queueTime = 20 * time.Millisecond
	// dropTime is the same for datagrams, which are dropped beyond it.
	dropTime = 100 * time.Millisecond
	// socketBuffer keeps the kernel from holding more than the narrow place does.
	socketBuffer = 64 << 10
	// fastest is the rate up to which a path without one holds all that is under way.
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
	return 256 << 10
}

// Relay relays by one Path. The narrow place is shared by all that it serves.
type Relay struct {
	path     Path
	up, down *narrow
}

// New returns a relay for p.
func New(p Path) *Relay {
	return &Relay{path: p, up: newNarrow(p.Rate), down: newNarrow(p.Rate)}
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
				sleepUntil(time.Now().Add(2 * r.path.Delay))
			}
			d := net.Dialer{Timeout: 10 * time.Second, Control: r.control}
			s, err := d.DialContext(context.Background(), "tcp", addr)
			if err != nil {
				// Refused, or reset before it was dialled.
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

// Listen listens as a path with a rate needs it.
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

// pump copies one direction. A FIN passes in its turn, an error ends both.
func (r *Relay) pump(dst, src net.Conn, n *narrow) {
	q := newPipe(r.path)
	go func() {
		err := q.fill(src, n)
		q.finish(err)
	}()
	err := q.drain(dst)
	if err == nil {
		err = dst.(*net.TCPConn).CloseWrite()
	}
	if err != nil {
		_ = dst.(*net.TCPConn).SetLinger(0)
		_ = src.(*net.TCPConn).SetLinger(0)
		dst.Close()
		src.Close()
	}
	q.abandon()
}

// narrow is the place of a path where its rate is. A nil one is wide.
type narrow struct {
	rate int64
	mu   sync.Mutex // held while waiting: those that come are served in turn
	free time.Time  // when all that came is through
}

func newNarrow(rate int64) *narrow {
	if rate == 0 {
		return nil
	}
	return &narrow{rate: rate}
}

// pass waits for a place in the queue and returns when n bytes will be through.
func (w *narrow) pass(n int) time.Time {
	if w == nil {
		return time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.free.Before(now) {
		w.free = now
	}
	sleepUntil(w.free.Add(-queueTime))
	w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(w.rate))
	return w.free
}

// offer is pass for what is dropped when there is no place.
func (w *narrow) offer(n int) (time.Time, bool) {
	now := time.Now()
	if w == nil {
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
	w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(w.rate))
	return w.free, true
}

// sleepUntil is exact to some 50 µs, where time.Sleep is to a millisecond.
func sleepUntil(t time.Time) {
	const coarse = 1200 * time.Microsecond
	if d := time.Until(t); d > coarse {
		time.Sleep(d - coarse)
	}
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil)
	}
}

// ServeUDP passes datagrams between pc and addr, for one client at a time.
func (r *Relay) ServeUDP(pc *net.UDPConn, addr string) error {
	far, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer far.Close()
	for _, c := range []*net.UDPConn{pc, far.(*net.UDPConn)} {
		_ = c.SetReadBuffer(16 << 20)
		_ = c.SetWriteBuffer(16 << 20)
	}
	var mu sync.Mutex
	var client net.Addr
	toServer := newLane(r.path.Delay, r.up, func(b []byte) { _, _ = far.Write(b) })
	toClient := newLane(r.path.Delay, r.down, func(b []byte) {
		mu.Lock()
		to := client
		mu.Unlock()
		if to != nil {
			_, _ = pc.WriteTo(b, to)
		}
	})
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := far.Read(buf)
			if err == nil {
				toClient.send(buf[:n])
			} else if !isRefused(err) {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("read datagrams: %w", err)
		}
		mu.Lock()
		client = from
		mu.Unlock()
		toServer.send(buf[:n])
	}
}
