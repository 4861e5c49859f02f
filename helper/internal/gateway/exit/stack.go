package exit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	stackNIC   = 1
	stackQueue = 1024 // packets between the stack and the device

	// All connections share about this much memory, in bytes, for what they have
	// received and not passed on, and as much for what they have to send. Each gets
	// its part when it begins.
	bufferBudget = 4 << 20
	leastBuffer  = 8 << 10
	mostBuffer   = 1 << 20
)

// userStack is a network stack of this process and, for WireGuard, the device that all
// routes of the stack lead to. The stack that comes with wireguard-go can miss the reply
// to a ping, and gives the fragments of all datagrams the same identification.
type userStack struct {
	stack  *stack.Stack
	link   *channel.Endpoint
	mtu    int
	events chan tun.Event
	turn   sync.Mutex // held while one packet is passed on
	out    chan *stack.PacketBuffer
	closed chan struct{}
	close  func()
}

func newStack(addresses []netip.Addr, mtu int) (*userStack, error) {
	s := &userStack{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
			HandleLocal:        true,
		}),
		link: channel.New(stackQueue, uint32(mtu), ""), mtu: mtu,
		events: make(chan tun.Event, 1), out: make(chan *stack.PacketBuffer), closed: make(chan struct{}),
	}
	notified := s.link.AddNotify(s)
	s.close = sync.OnceFunc(func() {
		close(s.closed)
		s.stack.RemoveNIC(stackNIC)
		s.stack.Close()
		s.link.RemoveNotify(notified)
		s.link.Close()
		close(s.events)
	})
	sack := tcpip.TCPSACKEnabled(true)
	failed := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	if failed == nil {
		failed = s.stack.CreateNIC(stackNIC, s.link)
	}
	for _, a := range addresses {
		if failed == nil {
			failed = s.stack.AddProtocolAddress(stackNIC, tcpip.ProtocolAddress{Protocol: protocolOf(a),
				AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}, stack.AddressProperties{})
		}
		everything := header.IPv4EmptySubnet
		if a.Is6() {
			everything = header.IPv6EmptySubnet
		}
		s.stack.AddRoute(tcpip.Route{Destination: everything, NIC: stackNIC})
	}
	if failed != nil {
		s.close()
		return nil, fmt.Errorf("set up a network stack: %s", failed)
	}
	s.events <- tun.EventUp
	return s, nil
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// WriteNotify implements channel.Notification: the stack has a packet to send. It waits
// until the device takes the packet, so that senders slow down and no packet is lost. One
// call runs at a time, so that packets stay in order.
func (s *userStack) WriteNotify() {
	s.turn.Lock()
	defer s.turn.Unlock()
	p := s.link.Read()
	if p == nil {
		return
	}
	select {
	case s.out <- p:
	case <-s.closed:
		p.DecRef()
	}
}

// Read implements tun.Device.
func (s *userStack) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-s.out:
		defer p.DecRef()
		v := p.ToView()
		defer v.Release()
		n, err := v.Read(bufs[0][offset:])
		sizes[0] = n
		return 1, err
	case <-s.closed:
		return 0, os.ErrClosed
	}
}

// Write implements tun.Device.
func (s *userStack) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		if b = b[offset:]; len(b) == 0 {
			continue
		}
		protocol := ipv4.ProtocolNumber
		if b[0]>>4 == 6 {
			protocol = ipv6.ProtocolNumber
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		s.link.InjectInbound(protocol, p)
		p.DecRef()
	}
	return len(bufs), nil
}

// Close implements tun.Device.
func (s *userStack) Close() error { s.close(); return nil }

// File implements tun.Device.
func (*userStack) File() *os.File { return nil }

// MTU implements tun.Device.
func (s *userStack) MTU() (int, error) { return s.mtu, nil }

// Name implements tun.Device.
func (*userStack) Name() (string, error) { return "user", nil }

// Events implements tun.Device.
func (s *userStack) Events() <-chan tun.Event { return s.events }

// BatchSize implements tun.Device.
func (*userStack) BatchSize() int { return 1 }

// DialContext connects to a literal address by TCP or UDP.
func (s *userStack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	a := at.Addr().Unmap()
	to := tcpip.FullAddress{NIC: stackNIC, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: at.Port()}
	switch network {
	case "tcp":
		s.fitBuffers()
		c, err := gonet.DialContextTCP(ctx, s.stack, to, protocolOf(a))
		if err != nil {
			return nil, err
		}
		return c, nil
	case "udp":
		var queue waiter.Queue
		ep, err := s.endpoint("dial", udp.ProtocolNumber, a, &queue)
		if err != nil {
			return nil, err
		}
		if failed := ep.Connect(to); failed != nil {
			ep.Close()
			return nil, stackFailure("dial", failed)
		}
		return gonet.NewUDPConn(&queue, ep), nil
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
}

// fitBuffers bounds the buffers of the connections that begin from now on.
func (s *userStack) fitBuffers() {
	open := int(s.stack.Stats().TCP.CurrentConnected.Value())
	most := min(max(bufferBudget/(open+1), leastBuffer), mostBuffer)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: most, Max: most},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: most, Max: most},
	} {
		_ = s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o) // valid by construction
	}
}

// endpoint opens a socket for datagrams to an address. The stack splits large datagrams.
// It gives the fragments an identification only if path MTU discovery is off.
func (s *userStack) endpoint(op string, kind tcpip.TransportProtocolNumber, to netip.Addr, queue *waiter.Queue) (tcpip.Endpoint, error) {
	ep, failed := s.stack.NewEndpoint(kind, protocolOf(to), queue)
	if failed != nil {
		return nil, stackFailure(op, failed)
	}
	if failed := ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(tcpip.PMTUDiscoveryDont)); failed != nil {
		ep.Close()
		return nil, stackFailure(op, failed)
	}
	return ep, nil
}

// pingConn is a socket of the stack for pings of one address. The stack replaces the
// identifier of requests by its own, and delivers only replies with that identifier.
type pingConn struct {
	ctx   context.Context // ends reads
	ep    tcpip.Endpoint
	ready chan struct{} // something may have come
	left  func()
}

// pinger opens a socket for pings of an address. Its reads end with ctx.
func (s *userStack) pinger(ctx context.Context, to netip.Addr) (*pingConn, error) {
	kind := icmp.ProtocolNumber4
	if to.Is6() {
		kind = icmp.ProtocolNumber6
	}
	var queue waiter.Queue
	ep, err := s.endpoint("ping", kind, to, &queue)
	if err != nil {
		return nil, err
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	queue.EventRegister(&entry)
	c := &pingConn{ctx, ep, ready, func() { queue.EventUnregister(&entry) }}
	if failed := ep.Connect(tcpip.FullAddress{NIC: stackNIC, Addr: tcpip.AddrFromSlice(to.AsSlice())}); failed != nil {
		c.Close()
		return nil, stackFailure("ping", failed)
	}
	return c, nil
}

func stackFailure(op string, failed tcpip.Error) error {
	return &net.OpError{Op: op, Err: errors.New(failed.String())}
}

// Write sends one ICMP message.
func (c *pingConn) Write(b []byte) (int, error) {
	n, failed := c.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{})
	if failed != nil {
		return int(n), stackFailure("ping", failed)
	}
	return int(n), nil
}

// Read waits for one ICMP message.
func (c *pingConn) Read(b []byte) (int, error) {
	for {
		into := tcpip.SliceWriter(b)
		r, failed := c.ep.Read(&into, tcpip.ReadOptions{})
		if failed == nil {
			return r.Count, nil
		}
		if _, wait := failed.(*tcpip.ErrWouldBlock); !wait {
			return 0, stackFailure("ping", failed)
		}
		select {
		case <-c.ready:
		case <-c.ctx.Done():
			return 0, c.ctx.Err()
		}
	}
}

// SetDeadline does nothing: reads end with the context.
func (*pingConn) SetDeadline(time.Time) error { return nil }

// Close ends the socket.
func (c *pingConn) Close() {
	c.left()
	c.ep.Close()
}
