package tun

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	wgtun "golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// headroom is the space that the device needs in front of a packet that is
	// written.
	headroom = 10
	// maxHeaders bounds IP and transport header of a packet.
	maxHeaders = 160
	maxPacket  = 65535
	// maxFaults is how many reads in a row may fail before the engine gives the
	// device up.
	maxFaults = 100
)

// link is the device as the stack sees it. It writes packets of the stack at once, in
// the sender's goroutine: a local device accepts them without waiting.
type link struct {
	dev        wgtun.Device
	mtu        uint32
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

var _ stack.LinkEndpoint = (*link)(nil)

// read gives every packet to handle until the device is closed, which is no error.
// The packet is valid until handle returns.
func (l *link) read(handle func([]byte)) error {
	// The device may return a large packet in several pieces of equal size, so the
	// later pieces are short.
	bufs, sizes := make([][]byte, l.dev.BatchSize()), make([]int, l.dev.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, maxPacket/max(i, 1)+maxHeaders)
	}
	faults := 0
	for {
		n, err := l.dev.Read(bufs, sizes, 0)
		for i := range n {
			handle(bufs[i][:sizes[i]])
		}
		switch {
		case err == nil:
			faults = 0
		case errors.Is(err, os.ErrClosed):
			return nil
		case faults == maxFaults:
			return fmt.Errorf("read from the device: %w", err)
		default:
			faults++ // it may be about one packet only
		}
	}
}

// deliver gives the stack a copy of a packet.
func (l *link) deliver(b []byte) {
	d := l.dispatcher.Load()
	if d == nil || len(b) == 0 {
		return
	}
	protocol := header.IPv4ProtocolNumber
	if b[0]>>4 == 6 {
		protocol = header.IPv6ProtocolNumber
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	p.RXChecksumValidated = true // it comes from this machine's own kernel
	(*d).DeliverNetworkPacket(protocol, p)
	p.DecRef()
}

// send writes one packet that the stack did not make.
func (l *link) send(b []byte) {
	_, _ = l.dev.Write([][]byte{append(make([]byte, headroom, headroom+len(b)), b...)}, headroom)
}

// WritePackets writes to the device.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	chunks, bufs := make([]*netx.Chunk, 0, 1), make([][]byte, 0, 1)
	for _, p := range list.AsSlice() {
		if p.Size() > netx.MaxDatagram-headroom || isMulticast(p) {
			continue
		}
		c := netx.NewChunk(headroom + p.Size())
		b := c.Room()[:headroom]
		for _, s := range p.AsSlices() {
			b = append(b, s...)
		}
		chunks, bufs = append(chunks, c), append(bufs, b)
	}
	var err error
	if len(bufs) > 0 {
		_, err = l.dev.Write(bufs, headroom)
	}
	for _, c := range chunks {
		c.Release()
	}
	if err != nil {
		return 0, &tcpip.ErrAborted{}
	}
	return list.Len(), nil
}

// isMulticast recognises neighbour discovery of the stack: the device has no
// neighbours.
func isMulticast(p *stack.PacketBuffer) bool {
	b := p.NetworkHeader().Slice()
	return len(b) >= v6Header && b[0]>>4 == 6 && b[24] == 0xff || len(b) >= v4Header && b[0]>>4 == 4 && b[16]>>4 == 14
}

// Attach sets the stack.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// IsAttached tells whether there is a stack.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// MTU returns the MTU of the device.
func (l *link) MTU() uint32 { return l.mtu }

// Capabilities says that packets from the kernel have good checksums.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// ARPHardwareType says that there is no ARP.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// The rest of a LinkEndpoint has no meaning here.

func (l *link) SetMTU(uint32)                        {}
func (l *link) MaxHeaderLength() uint16              { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress       { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)     {}
func (l *link) Wait()                                {}
func (l *link) AddHeader(*stack.PacketBuffer)        {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }
func (l *link) Close()                               {}
func (l *link) SetOnCloseAction(func())              {}
