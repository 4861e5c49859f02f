package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// errIdle ends an exchange without datagrams for long enough.
var errIdle = errors.New("idle for too long")

// exchange is a UDP flow: datagrams between a stream and a connected socket.
type exchange struct {
	f        *flow
	conn     net.Conn
	began    time.Time    // of the monotonic clock
	last     atomic.Int64 // when the last datagram passed, as time since began
	answered atomic.Bool
	idle     time.Duration
	reply    sync.Once
	refused  atomic.Bool // set within reply

	mu     sync.Mutex
	others []uint16 // other ports of the target's host that have sent something
}

// turnOfFlow waits until f may connect. An exchange of datagrams counts among the dials
// only if its name must be looked up.
func (g *Gateway) turnOfFlow(ctx context.Context, f *flow) (release func(), err error) {
	key := turnOf(f.match.Resource.Name, f.st.Request())
	if f.network != resource.UDP {
		return turn(ctx, g.dials, key)
	}
	socket, err := turn(ctx, g.sockets, key)
	if err != nil || g.dialer.Known(f.match) {
		return socket, err
	}
	lookup, err := turn(ctx, g.dials, key)
	if err != nil {
		socket()
		return nil, err
	}
	return func() { lookup(); socket() }, nil
}

// relayDatagrams passes datagrams in both directions until the exchange is idle or
// either side ends it. It closes both ends.
func (g *Gateway) relayDatagrams(ctx context.Context, f *flow, conn net.Conn) error {
	x := &exchange{f: f, conn: conn, began: time.Now(), idle: g.o.UDPIdle}
	x.touch()
	g.mu.Lock()
	f.udp = x
	g.mu.Unlock()
	end := func(reason string) {
		if x.accept(); x.refused.Load() {
			_ = f.st.Close()
		} else {
			f.st.Reset(reason)
		}
		_ = conn.Close()
	}
	stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx).Error()) })
	defer stop()
	up := make(chan error, 1)
	go func() {
		err := x.send(f.countUp(g))
		_ = conn.Close()
		up <- err
	}()
	err := x.receive(f.countDown(g))
	if errors.Is(err, errIdle) {
		err = nil
		end(errIdle.Error())
	} else {
		end("the exchange has ended")
	}
	if sent := <-up; sent != nil && !errors.Is(sent, net.ErrClosed) {
		return sent
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// roomAtOnce is how many exchanges end together when there are too many.
const roomAtOnce = 64

// errDisplaced ends an exchange in favour of a new one.
var errDisplaced = errors.New("another exchange needs the place")

// makeRoom ends some UDP exchanges of a resource. It ends exchanges that were answered
// first, since most programs want one answer, then the others. Of each kind it ends those
// first that have been silent for longest. A program that sends again gets a new exchange.
// The caller holds g.mu.
func (g *Gateway) makeRoom(resource string) {
	type candidate struct {
		f        *flow
		answered bool
		silence  time.Duration
	}
	var list []candidate
	for f := range g.flows {
		if f.udp != nil && f.match.Resource.Name == resource {
			list = append(list, candidate{f, f.udp.answered.Load(), f.udp.silence()})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.answered != b.answered {
			if a.answered {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.silence, a.silence)
	})
	for _, c := range list[:min(len(list), roomAtOnce, max(1, g.o.MaxFlows/8))] {
		g.forget(c.f)
		c.f.cancel(errDisplaced)
	}
}

func (x *exchange) touch() { x.last.Store(int64(time.Since(x.began))) }

// silence returns the time since the last datagram.
func (x *exchange) silence() time.Duration { return time.Since(x.began) - time.Duration(x.last.Load()) }

// send passes the remote's datagrams to the socket.
func (x *exchange) send(count netx.Counter) error {
	for {
		c, err := x.f.st.ReadChunk()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		x.touch()
		n := c.Len()
		err = x.write(c)
		if err != nil && x.lives(err) {
			if x.refuse(err) {
				c.Release()
				return nil
			}
			// The socket reported an earlier datagram and has not sent this one.
			_ = x.write(c)
			err = nil
		}
		c.Release()
		if err != nil {
			return err
		}
		count(n)
	}
}

// write sends a datagram to the target, or to another port of its host that has sent
// one before.
func (x *exchange) write(c *netx.Chunk) error {
	if c.Port == 0 {
		_, err := x.conn.Write(c.Bytes())
		return err
	}
	many, ok := x.conn.(dial.ManyPorts)
	if !ok || !x.knows(c.Port) {
		return nil // as a firewall between them would do
	}
	return many.WriteToPort(c.Bytes(), c.Port)
}

// maxOthers is how many other ports of a target an exchange remembers.
const maxOthers = 16

func (x *exchange) knows(port uint16) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(x.others, port)
}

// learn notes that the target's host has sent a datagram from another port.
func (x *exchange) learn(port uint16) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Contains(x.others, port) {
		return
	}
	if len(x.others) == maxOthers {
		x.others = x.others[:copy(x.others, x.others[1:])]
	}
	x.others = append(x.others, port)
}

// receive passes the socket's datagrams to the remote.
func (x *exchange) receive(count netx.Counter) error {
	read := netx.DatagramReader(x.conn)
	for {
		idle := x.idle
		if x.answered.Load() {
			idle *= 2
		}
		_ = x.conn.SetReadDeadline(time.Now().Add(idle - x.silence()))
		c, err := read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if x.silence() >= idle {
				return errIdle
			}
			continue
		case err != nil && x.lives(err):
			if x.refuse(err) {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		x.touch()
		x.answered.Store(true)
		x.accept()
		n := c.Len()
		if c.Port == 0 {
			_, err = x.f.st.Write(c.Bytes())
		} else {
			x.learn(c.Port)
			err = x.f.st.WriteToPort(c.Bytes(), c.Port)
		}
		c.Release()
		if err != nil {
			return err
		}
		count(n)
	}
}

// accept answers the flow, unless it has been answered. That waits for the target's
// first datagram: until then the target may refuse, and the program must hear of it.
func (x *exchange) accept() {
	x.reply.Do(func() { _ = x.f.st.Reply(tunnel.Connected, "") })
}

// refuse answers the flow with a refusal by the target, and reports whether it has. If
// the target has answered before, perhaps a restart ago, the flow goes on, and the
// program hears of the refusal.
func (x *exchange) refuse(err error) bool {
	e := dial.Error(err)
	if e.Code != tunnel.Refused {
		return false
	}
	first := false
	x.reply.Do(func() {
		first = true
		x.refused.Store(true)
		_ = x.f.st.Reply(e.Code, e.Reason)
	})
	if !first && !x.refused.Load() {
		_ = x.f.st.Refused()
	}
	return x.refused.Load()
}

// lives records an error of the socket and reports whether the exchange goes on. An
// exchange of an unconnected socket would go on.
func (x *exchange) lives(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok || !dial.Survivable(errno) {
		return false
	}
	x.f.stats.fail(time.Now(), dial.Error(err))
	return true
}
