package dial

import (
	"net"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// ManyPorts is a UDP connection whose host may answer from other ports than the one that
// was dialled, as TFTP servers do. ReadDatagram returns those datagrams too.
type ManyPorts interface {
	netx.DatagramConn
	// WriteToPort sends b to another port of the host.
	WriteToPort(b []byte, port uint16) error
}

// tftp is the port whose servers always answer from another one.
const tftp = 69

// openPorts replaces c by a connection that hears all ports of c's host, where that is
// possible without losing ICMP errors, and for TFTP everywhere. It owns c.
func openPorts(c *net.UDPConn) (net.Conn, error) {
	to := c.RemoteAddr().(*net.UDPAddr).AddrPort()
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !keepsErrors && to.Port() != tftp {
		return c, nil
	}
	// The connected socket has found the way. Its address is that of the open one.
	local := *c.LocalAddr().(*net.UDPAddr)
	local.Port = 0
	_ = c.Close()
	u, err := net.ListenUDP("udp", &local)
	if err != nil {
		return nil, err
	}
	p := &ports{UDPConn: u, to: to, read: netx.ReaderFrom(u)}
	if err := keepErrors(u); err != nil {
		_ = u.Close()
		return nil, err
	}
	return p, nil
}

// ports is a socket that is not connected.
type ports struct {
	*net.UDPConn
	to   netip.AddrPort
	read func() (*netx.Chunk, netip.AddrPort, error)
}

var _ ManyPorts = (*ports)(nil)

// RemoteAddr is the address that was dialled.
func (p *ports) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(p.to) }

// Write sends b to the port that was dialled.
func (p *ports) Write(b []byte) (int, error) { return p.WriteToUDPAddrPort(b, p.to) }

// WriteToPort implements ManyPorts.
func (p *ports) WriteToPort(b []byte, port uint16) error {
	_, err := p.WriteToUDPAddrPort(b, netip.AddrPortFrom(p.to.Addr(), port))
	return err
}

// Read returns the next datagram of the host.
func (p *ports) Read(b []byte) (int, error) {
	c, err := p.ReadDatagram()
	if err != nil {
		return 0, err
	}
	defer c.Release()
	return copy(b, c.Bytes()), nil
}

// ReadDatagram implements netx.DatagramConn.
func (p *ports) ReadDatagram() (*netx.Chunk, error) {
	for {
		c, from, err := p.read()
		if err != nil {
			dropErrors(p.UDPConn)
			return nil, err
		}
		if from.Addr() != p.to.Addr().WithZone("") {
			c.Release() // a stranger's
			continue
		}
		if from.Port() != p.to.Port() {
			c.Port = from.Port()
		}
		return c, nil
	}
}
