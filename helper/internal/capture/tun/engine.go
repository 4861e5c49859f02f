package tun

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1
	// All connections share about this much memory for data that they have received
	// and not passed on, and as much for data to send. A connection gets its share,
	// within bounds, whenever it moves data. Connections that stall one after another
	// hold little more than this in all.
	bufferBudget = 2 << 20
	leastBuffer  = 8 << 10
	mostBuffer   = 512 << 10
	firstBuffer  = 16 << 10 // during the handshake
	// timeWait is short: a local device neither delays nor duplicates packets, and
	// the program's kernel may use its port again at once.
	timeWait = 250 * time.Millisecond
	// settle is how long the kernel may take to process packets that were written.
	// When the device goes, the kernel drops the packets that it has not processed.
	settle = 50 * time.Millisecond
)

// engine terminates the TCP and UDP of one device.
type engine struct {
	o     Options
	index int // of the device
	link  *link
	stack *stack.Stack

	ctx  context.Context // alive until close begins: for flows
	stop context.CancelFunc
	wg   sync.WaitGroup // flows and the reader
	gone chan struct{}  // closed when the device is

	mu       sync.Mutex
	closing  bool
	attempts map[tuple]*attempt
	flows    atomic.Int32 // open TCP connections; they increase under mu
	datagram int          // flows of UDP
	echoes   int          // echo requests that wait for their replies
	echoing  int          // bytes of them
}

// newEngine serves dev until close. It becomes the owner of dev.
func newEngine(o Options, dev wgtun.Device, mtu, index int) (*engine, error) {
	e := &engine{o: o, index: index, link: &link{dev: dev, mtu: uint32(mtu)}, gone: make(chan struct{}),
		attempts: make(map[tuple]*attempt)}
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := e.configure(); err != nil {
		e.stop()
		e.stack.Destroy()
		_ = dev.Close()
		return nil, err
	}
	go func() {
		defer close(e.gone)
		if err := e.link.read(e.handle); err != nil {
			o.Log.Warn().Err(err).Msg("TUN device given up")
		}
	}()
	return e, nil
}

func (e *engine) configure() error {
	s := e.stack
	// A connection's window scale never changes. While buffers may grow by
	// themselves, the stack chooses the scale for the largest buffer.
	sack, grow, wait := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &grow, &wait,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: firstBuffer, Max: mostBuffer},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: firstBuffer, Max: mostBuffer},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("set TCP option: %s", err)
		}
	}
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, firstBuffer, maxAttempts, e.accept).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, e.acceptUDP).HandlePacket)
	if err := s.CreateNIC(nic, e.link); err != nil {
		return fmt.Errorf("attach the device: %s", err)
	}
	// The stack accepts every address that is routed to the device.
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return fmt.Errorf("attach the device: %s", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return fmt.Errorf("attach the device: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return nil
}

// share is how large a buffer of one connection may be now.
func (e *engine) share() int {
	return min(max(bufferBudget/max(int(e.flows.Load()), 1), leastBuffer), mostBuffer)
}

// handle takes one packet from the device.
func (e *engine) handle(b []byte) {
	switch v, t, at := classify(b); v {
	case open:
		e.begin(t, b, at)
	case echo:
		e.ping(t, b, at)
	case pass:
		e.link.deliver(b)
	}
}

// spawn runs f as long as the engine is not closing.
func (e *engine) spawn(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return false
	}
	e.wg.Go(f)
	return true
}

// close resets the flows, so that programs notice, and closes the device, which
// removes its routes. It waits for everything that the engine started.
func (e *engine) close() {
	e.mu.Lock()
	e.closing = true
	flows := e.flows.Load()
	e.mu.Unlock()
	e.stop()
	e.wg.Wait()
	if flows > 0 {
		time.Sleep(settle)
	}
	_ = e.link.dev.Close()
	<-e.gone
	e.stack.Destroy()
}

// tupleOf returns the flow that the stack knows by id.
func tupleOf(id stack.TransportEndpointID) tuple {
	client, _ := netip.AddrFromSlice(id.RemoteAddress.AsSlice())
	server, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	return tuple{netip.AddrPortFrom(client, id.RemotePort), netip.AddrPortFrom(server, id.LocalPort)}
}
