// Package proxy is the capture source for programs that use a proxy. It has one
// loopback port for SOCKS5, SOCKS4, SOCKS4a and HTTP, which the first byte tells
// apart. Connections to resources go to the gateway, which judges them. Other
// connections go where they went before. The package has no policy of its own.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/rs/zerolog"
	"golang.org/x/net/http/httpproxy"
)

const (
	maxConns      = 4096
	handshakeTime = 30 * time.Second
	// The range of ports. A user's proxy tries the same ports at every start, so that
	// the environment of older terminals stays valid.
	firstPort = 27180
	lastPort  = 27979
	portTries = 32
)

// Options of a Proxy. Gateway, Match, Check and CheckUDP are required.
type Options struct {
	Log     zerolog.Logger
	Gateway *flow.Gateway

	// Match tells whether a published resource has this target. The network is
	// "tcp", "udp" or "lookup", the last with port 0.
	Match func(network, host string, port uint16) bool

	// Strict tells whether the proxy refuses targets that are not resources; nil
	// means no.
	Strict func() bool

	// Check and CheckUDP tell which user a client belongs to, or refuse it.
	Check    func(net.Conn) (owner.Owner, error)
	CheckUDP func(local, remote netip.AddrPort) (owner.Owner, error)

	// Environment has the proxy that programs here used before; nil means the
	// environment of this process.
	Environment *httpproxy.Config

	UID  int // each user has a port of their own
	Port int // 0 means the user's own
}

// Proxy is a listening proxy.
type Proxy struct {
	o     Options
	ln    net.Listener
	out   dialer
	slots chan struct{}

	ctx  context.Context // alive until Close
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Ports returns the ports at which a user's proxy may listen, in the order in which
// it tries them.
func Ports(uid int) []int {
	ports := make([]int, 0, portTries)
	const n = lastPort - firstPort + 1
	for i := range portTries {
		ports = append(ports, firstPort+(uid*7+i)%n)
	}
	return ports
}

// Listen starts a proxy on 127.0.0.1.
func Listen(o Options) (*Proxy, error) {
	ports := Ports(o.UID)
	if o.Port != 0 {
		ports = []int{o.Port}
	}
	var ln net.Listener
	var err error
	c := net.ListenConfig{KeepAlive: -1} // the kernel reports the end of a client on this machine
	for _, port := range ports {
		if ln, err = c.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for proxy clients: %w", err)
	}
	p := &Proxy{o: o, ln: ln, slots: make(chan struct{}, maxConns)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.out = newDialer(o, ln.Addr().String())
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.ln.Addr() }

// Close stops listening, ends every connection and waits for them.
func (p *Proxy) Close() error {
	p.stop()
	_ = p.ln.Close()
	p.wg.Wait()
	return nil
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Most likely no descriptors are left: wait until some are free.
			p.o.Log.Warn().Err(err).Msg("accept proxy client")
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-p.ctx.Done():
				return
			}
		}
		select {
		case p.slots <- struct{}{}: // until there is one, clients wait
		case <-p.ctx.Done():
			_ = c.Close()
			return
		}
		p.wg.Go(func() {
			defer func() { <-p.slots }()
			p.serve(c.(*net.TCPConn))
		})
	}
}

// serve finds out which protocol the client speaks. It owns c.
func (p *Proxy) serve(c *net.TCPConn) {
	stop := context.AfterFunc(p.ctx, func() { _ = c.Close() })
	defer stop()
	who, err := p.o.Check(c)
	if err != nil {
		_ = c.SetLinger(0)
		_ = c.Close()
		p.o.Gateway.Stranger(p.ln.Addr(), err)
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(handshakeTime))
	var first [1]byte
	if _, err := c.Read(first[:]); err != nil {
		_ = c.Close()
		return
	}
	switch first[0] {
	case socksVersion:
		p.serveSOCKS(c, who)
		return
	case socks4Version:
		p.serveSOCKS4(c, who)
		return
	}
	p.serveHTTP(c, first[:], who)
}
