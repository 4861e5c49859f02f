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

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxDatagram = 64 << 10
	resolveTime = 5 * time.Second // for the target of a direct datagram
)

// destination is where a client's datagram goes, as the client spelled it.
type destination struct {
	host string
	port uint16
}

// association is one UDP ASSOCIATE: a relay socket that lives as long as its
// TCP connection, with an exchange for each destination.
type association struct {
	p            *Proxy
	relay        *net.UDPConn
	who          owner.Owner
	destinations flow.Demux[destination]

	mu     sync.Mutex
	client netip.AddrPort // the address that sent the first datagram
	others flow.Others[destination]
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
	defer cancel()
	a := &association{p: p, relay: relay, who: who}
	a.destinations = flow.Demux[destination]{Gateway: p.o.Gateway, Context: ctx, Open: a.open, Deliver: a.toClient, DeliverFrom: a.fromPort, Failed: a.failed}
	var reader sync.WaitGroup
	reader.Go(a.fromClient)
	replySOCKS(c, repOK, relay.LocalAddr().(*net.UDPAddr).AddrPort())
	_, _ = io.Copy(io.Discard, c) // ends with the client, or with Close
	cancel()
	_ = relay.Close()
	reader.Wait()
	a.destinations.Wait()
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
		if reply := a.others.Get(d); reply == nil || !reply(payload) {
			a.destinations.Take(d, a.who, payload)
		}
	}
}

// isClient ties the association to the first address that sent a datagram.
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

func (a *association) failed(d destination, err error) {
	a.p.o.Gateway.Failed(tunnel.Target{Network: tunnel.UDP, Host: tunnel.Clean(d.host), Port: d.port}, err)
}

// open begins the flow to d.
func (a *association) open(ctx context.Context, d destination, who owner.Owner) (net.Conn, error) {
	if host, ok := a.p.out.match("udp", d.host, d.port); ok {
		return a.p.o.Gateway.OpenUDP("socks", tunnel.Target{Network: tunnel.UDP, Host: host, Port: d.port})(ctx, who)
	}
	if a.p.out.strict() {
		return nil, errStrict
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	return a.p.out.net.DialContext(ctx, "udp", net.JoinHostPort(d.host, strconv.Itoa(int(d.port))))
}

// fromPort passes on a datagram from another port of d's host.
func (a *association) fromPort(d destination, port uint16, b []byte, reply func(b []byte) bool) {
	other := destination{d.host, port}
	a.others.Set(other, reply)
	a.toClient(other, b)
}

// toClient passes on a datagram of d.
func (a *association) toClient(d destination, b []byte) {
	a.mu.Lock()
	client := a.client
	a.mu.Unlock()
	_, _ = a.relay.WriteToUDPAddrPort(append(appendAddress([]byte{0, 0, 0}, d.host, d.port), b...), client)
}
