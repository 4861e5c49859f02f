package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// datagrams is the listener of a UDP port: it has an exchange for each client
// address.
type datagrams struct {
	s      *Source
	target tunnel.Target
	at     netip.AddrPort
	conn   *net.UDPConn
	others otherPorts
}

// serve passes on what clients send until the socket is closed.
func (d *datagrams) serve() {
	ctx, cancel := context.WithCancel(d.s.ctx)
	open := d.s.o.Gateway.OpenUDP("names", d.target)
	clients := flow.Demux[netip.AddrPort]{
		Gateway: d.s.o.Gateway, Context: ctx,
		Open:        func(ctx context.Context, _ netip.AddrPort, who owner.Owner) (net.Conn, error) { return open(ctx, who) },
		Deliver:     func(to netip.AddrPort, b []byte) { _, _ = d.conn.WriteToUDPAddrPort(b, to) },
		DeliverFrom: d.deliverFrom,
		Refused:     func(client netip.AddrPort) { d.s.RefuseUDP(client, d.at, &tunnel.Error{Code: tunnel.Refused}) },
		Failed: func(client netip.AddrPort, err error) {
			d.s.o.Gateway.Failed(d.target, err)
			d.s.RefuseUDP(client, d.at, err)
		},
		Ended: d.others.forget,
	}
	defer d.others.close()
	defer clients.Wait()
	defer cancel()
	buf := netx.NewChunk(netx.MaxDatagram)
	defer buf.Release()
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf.Room()[:netx.MaxDatagram])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The error is about an earlier datagram, or for example no memory is
			// left: try again.
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		// Each datagram: another program may have the port since the last one.
		who, err := d.s.o.CheckUDP(d.at, from)
		if err != nil {
			d.s.o.Gateway.Stranger(d.target, err)
			continue
		}
		d.s.recent.touch(d.target.Host)
		clients.Take(from, who, buf.Room()[:n])
	}
}
