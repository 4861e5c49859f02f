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
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxUDPFlows = 256
	udpIdle     = time.Minute
	maxDatagram = 64 << 10
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

	mu     sync.Mutex
	client netip.AddrPort // who talks to relay, once it has
	flows  map[destination]net.Conn
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
	a := &association{p: p, relay: relay, who: who, ctx: ctx, flows: make(map[destination]net.Conn)}
	a.wg.Go(a.fromClient)
	replySOCKS(c, repOK, relay.LocalAddr().(*net.UDPAddr).AddrPort())
	_, _ = io.Copy(io.Discard, c) // ends with the client, or with Close
	cancel()
	_ = relay.Close()
	a.mu.Lock()
	for _, f := range a.flows {
		_ = f.Close()
	}
	a.mu.Unlock()
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
		if f := a.flow(d); f != nil {
			_, _ = f.Write(payload)
		}
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

// flow returns the flow to d, opening it if need be; nil if that cannot be.
func (a *association) flow(d destination) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flows[d]; f != nil {
		return f
	}
	if len(a.flows) >= maxUDPFlows || a.ctx.Err() != nil {
		return nil
	}
	f, err := a.open(d)
	if err != nil {
		return nil
	}
	a.flows[d] = f
	a.wg.Go(func() { a.toClient(d, f) })
	return f
}

// open begins a flow without waiting: a datagram may be lost, a round trip need not be.
func (a *association) open(d destination) (net.Conn, error) {
	if a.p.o.Match("udp", d.host, d.port) {
		return a.p.o.Tunnel.Open(a.ctx, tunnel.Request{
			Target: tunnel.Target{Network: tunnel.UDP, Host: d.host, Port: d.port},
			Origin: tunnel.Origin{Source: "socks", User: a.who.User},
		}, nil)
	}
	if a.p.out.strict() {
		return nil, errStrict
	}
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	return a.p.out.net.DialContext(ctx, "udp", net.JoinHostPort(d.host, strconv.Itoa(int(d.port))))
}

// toClient passes on what comes back, until nothing has come or gone for a while.
func (a *association) toClient(d destination, f net.Conn) {
	defer func() {
		_ = f.Close()
		a.mu.Lock()
		delete(a.flows, d)
		a.mu.Unlock()
	}()
	if st, ok := f.(*tunnel.Stream); ok {
		if _, err := st.Answer(a.ctx); err != nil {
			a.p.o.Log.Debug().Str("host", tunnel.Clean(d.host)).Uint16("port", d.port).Err(err).Msg("datagrams refused")
			return
		}
	}
	head := appendAddress([]byte{0, 0, 0}, d.host, d.port)
	buf := make([]byte, len(head)+maxDatagram)
	copy(buf, head)
	for {
		_ = f.SetReadDeadline(time.Now().Add(udpIdle))
		n, err := f.Read(buf[len(head):])
		if err != nil {
			return
		}
		a.mu.Lock()
		client := a.client
		a.mu.Unlock()
		_, _ = a.relay.WriteToUDPAddrPort(buf[:len(head)+n], client)
	}
}
