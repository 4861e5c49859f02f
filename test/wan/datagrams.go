//go:build linux

package wan

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// lane is one direction of the datagrams.
type lane struct {
	path  Path
	n     *narrow
	queue chan chunk
}

func newLane(p Path, n *narrow, deliver func([]byte)) *lane {
	l := &lane{p, n, make(chan chunk, 1<<15)}
	go func() {
		for c := range l.queue {
			sleepUntil(c.due, nil)
			deliver(c.data)
		}
	}()
	return l
}

// send drops b if the queue is full, as networks do.
func (l *lane) send(b []byte) {
	through, ok := l.n.offer(len(b), l.path.Rate)
	if !ok {
		return
	}
	select {
	case l.queue <- chunk{data: append([]byte(nil), b...), due: through.Add(l.path.Delay)}:
	default:
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
	toServer := newLane(r.path, r.up, func(b []byte) { _, _ = far.Write(b) })
	toClient := newLane(r.path, r.down, func(b []byte) {
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
			} else if !errors.Is(err, syscall.ECONNREFUSED) {
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
