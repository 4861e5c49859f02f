package names

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/netx"
)

const (
	// maxOtherPorts bounds the ports of one listener's targets from which answers come,
	// beside the one that the resource lists.
	maxOtherPorts = 64
	otherIdle     = time.Minute
)

// otherPorts are sockets at a listener's address for answers from other ports of the
// target's host. The zero value has none.
type otherPorts struct {
	replies flow.Others[clientPort]

	wg     sync.WaitGroup
	mu     sync.Mutex
	open   map[uint16]*net.UDPConn
	closed bool
}

// clientPort is a port of the target's host that has sent something to a client.
type clientPort struct {
	client netip.AddrPort
	port   uint16
}

// machines are the addresses of loopback whose ports this machine's programs use, beside
// ::1. A target must not choose ports of them.
var machines = netip.MustParsePrefix("127.0.0.0/16")

// deliverFrom sends b to client from the same port of our address. If the port is in use
// on this machine, or the address is not ours alone, the datagram is lost.
func (d *datagrams) deliverFrom(client netip.AddrPort, port uint16, b []byte, reply func(b []byte) bool) {
	if a := d.at.Addr(); a == netip.IPv6Loopback() || machines.Contains(a) {
		return
	}
	d.others.replies.Set(clientPort{client, port}, reply)
	if c := d.otherPort(port); c != nil {
		_, _ = c.WriteToUDPAddrPort(b, client)
	}
}

// otherPort returns the socket at a port of our address; nil if there is none.
func (d *datagrams) otherPort(port uint16) *net.UDPConn {
	o := &d.others
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.open[port]
	if c == nil {
		if o.closed || len(o.open) >= maxOtherPorts {
			return nil
		}
		var err error
		if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.at.Addr(), port))); err != nil {
			d.s.o.Log.Debug().Err(err).Stringer("target", d.target).Msg("a datagram from another port of the target is lost")
			return nil
		}
		if o.open == nil {
			o.open = make(map[uint16]*net.UDPConn)
		}
		o.open[port] = c
		o.wg.Go(func() { d.serveOther(c, port) })
	}
	_ = c.SetReadDeadline(time.Now().Add(otherIdle))
	return c
}

// serveOther passes on what clients send to another port of the target, until that port
// has been silent for long.
func (d *datagrams) serveOther(c *net.UDPConn, port uint16) {
	defer func() {
		d.others.mu.Lock()
		delete(d.others.open, port)
		d.others.mu.Unlock()
		_ = c.Close()
	}()
	at := netip.AddrPortFrom(d.at.Addr(), port)
	read := netx.ReaderFrom(c)
	for {
		chunk, from, err := read()
		if err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(otherIdle))
		if _, err := d.s.o.CheckUDP(at, from); err != nil {
			d.s.o.Gateway.Stranger(d.target, err)
		} else if reply := d.others.replies.Get(clientPort{from, port}); reply != nil {
			reply(chunk.Bytes())
		}
		chunk.Release()
	}
}

// forget forgets what was heard for a client, whose flow has ended.
func (o *otherPorts) forget(client netip.AddrPort) {
	o.replies.DeleteFunc(func(heard clientPort) bool { return heard.client == client })
}

// close closes the sockets and waits for them.
func (o *otherPorts) close() {
	o.mu.Lock()
	o.closed = true
	for _, c := range o.open {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}
