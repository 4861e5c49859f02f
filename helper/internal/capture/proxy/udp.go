package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxUDPFlows = 256
	udpIdle     = time.Minute
	maxDatagram = 64 << 10
	maxQueued   = 16      // datagrams of one flow that wait, such as for it to be opened
	maxWaiting  = 1 << 20 // bytes of all that wait in one association
)

// destination is where a client's datagram goes, as the client spelled it.
type destination struct {
	host string
	port uint16
}

// association is one UDP ASSOCIATE: a relay socket that lives as long as its
// TCP connection, with a flow for each destination.
type association struct {
	p     *Proxy
	relay *net.UDPConn
	who   owner.Owner
	ctx   context.Context // alive until the association ends
	wg    sync.WaitGroup

	waiting atomic.Int64 // bytes in flows' queues

	mu     sync.Mutex
	client netip.AddrPort              // who talks to relay, once it has
	flows  map[destination]chan []byte // the datagrams that wait to go out
}

// socksAssociate relays datagrams until the client closes c.
func (p *Proxy) socksAssociate(c *net.TCPConn, who owner.Owner) {
	defer func() { _ = c.Close() }()
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	relay, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0)))
	if err != nil {
		replySOCKS(c, repFailure, netip.AddrPort{})
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	a := &association{p: p, relay: relay, who: who, ctx: ctx, flows: make(map[destination]chan []byte)}
	a.wg.Go(a.fromClient)
	replySOCKS(c, repOK, relay.LocalAddr().(*net.UDPAddr).AddrPort())
	_, _ = io.Copy(io.Discard, c) // ends with the client, or with Close
	cancel()
	_ = relay.Close()
	a.wg.Wait()
}

func (a *association) fromClient() {
	local := a.relay.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := a.relay.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if _, err := a.p.o.CheckUDP(local, from); err != nil || !a.isClient(from) {
			continue
		}
		d, payload, err := parseDatagram(buf[:n])
		if err != nil {
			continue
		}
		a.send(d, payload)
	}
}

// isClient ties the association to the first address that spoke.
func (a *association) isClient(from netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.client.IsValid() {
		a.client = from
	}
	return a.client == from
}

// parseDatagram reads the header of RFC 1928, section 7. Fragments are refused.
func parseDatagram(b []byte) (destination, []byte, error) {
	if len(b) < 4 || b[2] != 0 {
		return destination{}, nil, errors.New("short or fragmented")
	}
	r := bytes.NewReader(b[3:])
	host, port, err := readAddress(r)
	if err != nil {
		return destination{}, nil, err
	}
	return destination{host, port}, b[len(b)-r.Len():], nil
}

// send passes a datagram to the flow to d, which it begins if need be. What
// cannot be taken is lost, as on any network.
func (a *association) send(d destination, payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.flows[d]
	if out == nil {
		if len(a.flows) >= maxUDPFlows || a.ctx.Err() != nil {
			return
		}
		out = make(chan []byte, maxQueued)
		a.flows[d] = out
		a.wg.Go(func() { a.carry(d, out) })
	}
	if len(out) < cap(out) && a.waiting.Load() < maxWaiting {
		a.waiting.Add(int64(len(payload)))
		out <- bytes.Clone(payload)
	}
}

// carry passes datagrams both ways until none has come or gone for a while.
func (a *association) carry(d destination, out chan []byte) {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.flows, d)
		for len(out) > 0 {
			a.waiting.Add(-int64(len(<-out)))
		}
	}()
	c, err := a.open(d)
	if err != nil {
		a.refused(d, err)
		return
	}
	defer context.AfterFunc(a.ctx, func() { _ = c.Close() })()
	back := make(chan struct{})
	go func() {
		defer close(back)
		a.toClient(d, c)
	}()
	for {
		_ = c.SetReadDeadline(time.Now().Add(udpIdle))
		select {
		case b := <-out:
			a.waiting.Add(-int64(len(b)))
			_, _ = c.Write(b)
		case <-back:
			_ = c.Close()
			return
		}
	}
}

func (a *association) refused(d destination, err error) {
	a.p.o.Log.Debug().Str("host", tunnel.Clean(d.host)).Uint16("port", d.port).Err(err).Msg("datagrams refused")
}

// open begins a flow. By the gateway it waits for no answer: a datagram may be
// lost, a round trip need not be.
func (a *association) open(d destination) (net.Conn, error) {
	if a.p.o.Match("udp", d.host, d.port) {
		target := tunnel.Target{Network: tunnel.UDP, Host: d.host, Port: d.port}
		return a.p.o.Tunnel.Open(a.ctx, tunnel.Request{Target: target, Origin: a.p.o.Origin("socks", target, a.who)}, nil)
	}
	if a.p.out.strict() {
		return nil, errStrict
	}
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	return a.p.out.net.DialContext(ctx, "udp", net.JoinHostPort(d.host, strconv.Itoa(int(d.port))))
}

// toClient passes on what comes back.
func (a *association) toClient(d destination, c net.Conn) {
	if st, ok := c.(*tunnel.Stream); ok {
		if _, err := st.Answer(a.ctx); err != nil {
			a.refused(d, err)
			return
		}
	}
	head := appendAddress([]byte{0, 0, 0}, d.host, d.port)
	buf := make([]byte, len(head)+maxDatagram)
	copy(buf, head)
	for {
		n, err := c.Read(buf[len(head):])
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // of one datagram; the next may be taken
		}
		if err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(udpIdle))
		a.mu.Lock()
		client := a.client
		a.mu.Unlock()
		_, _ = a.relay.WriteToUDPAddrPort(buf[:len(head)+n], client)
	}
}
