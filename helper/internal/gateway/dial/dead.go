package dial

import (
	"context"
	"net"
	"sync"
	"time"
)

// A peer that is gone says nothing. Without limits of its own the system goes on for
// a quarter of an hour while data is under way, and for ever on an idle connection.
const (
	deadAfter = 30 * time.Second
	lookEvery = 5 * time.Second
)

// keepAlive finds a dead peer on an idle connection after deadAfter.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}

// WatchPeer calls dead, once, if the peer of c has acknowledged nothing for 30 s while
// data was under way. A peer that is alive and does not read is not dead, which
// TCP_USER_TIMEOUT would take it for. The caller calls stop when it no longer uses c.
// Where the system has an option that does the same, and on other connections than TCP
// of the system, WatchPeer does nothing.
func WatchPeer(c net.Conn, dead func()) (stop func()) {
	return watchPeer(c, lookEvery, deadAfter, dead)
}

func watchPeer(c net.Conn, every, limit time.Duration, dead func()) (stop func()) {
	look := progressOf(c)
	if look == nil {
		return func() {}
	}
	w := &peerWatch{limit: limit}
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(every, func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		p, err := look()
		if err != nil {
			return // closed
		}
		if w.isDead(time.Now(), p) {
			dead()
			return
		}
		timer.Reset(every)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// progress is what a connection's peer has acknowledged.
type progress struct {
	underWay bool   // something is not acknowledged
	acked    uint64 // bytes
}

// peerWatch finds out whether data is under way without progress.
type peerWatch struct {
	limit time.Duration
	last  progress
	since time.Time // when last began
}

func (w *peerWatch) isDead(now time.Time, p progress) bool {
	if p != w.last || !p.underWay {
		w.last, w.since = p, now
		return false
	}
	return now.Sub(w.since) >= w.limit
}

// systemDial connects as the machine's programs do, and finds dead peers.
func systemDial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: setDeadLimit}
	conn, err := d.DialContext(ctx, network, address)
	if u, ok := conn.(*net.UDPConn); ok && err == nil {
		return openPorts(u)
	}
	return conn, err
}
