//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

// maxExchanges bounds the covered targets of one UDP socket.
const maxExchanges = 256

// sender is a UDP socket of a program that has sent to covered targets.
type sender struct {
	to   map[netip.AddrPort]*exchange // by target
	from map[netip.AddrPort]*exchange // by our address
}

// exchange is one target of a UDP socket. A socket of ours on loopback takes the
// target's place.
type exchange struct {
	target netip.AddrPort
	at     netip.AddrPort
	family int // of the program's socket
	offer  *handover.Offer
}

// connectDatagrams connects a UDP socket. If a capture covers the target, it
// connects the socket to ours.
func (s *supervisor) connectDatagrams(c *call, app int, d destination, raw []byte) {
	v, offer := s.decide(c.t, tunnel.UDP, d)
	if v != carried {
		s.forget(c)
		s.otherwise(c, v, func() (int, error) { return 0, connectAs(app, raw) })
		return
	}
	ino := inodeOf(app)
	peer := peerOf(raw)
	s.mu.Lock()
	s.carried[ino] = peer
	s.mu.Unlock()
	_, err := s.begin(ino, app, d, offer, true)
	if err != nil {
		s.uncarry(ino, peer)
		c.fail(errnoOf(err))
		return
	}
	c.fail(0)
}

// exchangeFor returns the exchange of the socket app with d. If there is none, it
// begins one.
func (s *supervisor) exchangeFor(c *call, app int, d destination) (*exchange, verdict, error) {
	ino := inodeOf(app)
	s.mu.Lock()
	if known := s.senders[ino]; known != nil && known.to[d.AddrPort] != nil {
		e := known.to[d.AddrPort]
		s.mu.Unlock()
		return e, carried, nil
	}
	s.mu.Unlock()
	v, offer := s.decide(c.t, tunnel.UDP, d)
	if v != carried {
		return nil, v, nil
	}
	e, err := s.begin(ino, app, d, offer, false)
	return e, carried, err
}

// begin makes our end of an exchange and hands it to the capture. It owns offer.
func (s *supervisor) begin(ino uint64, app int, d destination, offer *handover.Offer, connect bool) (*exchange, error) {
	e := &exchange{target: d.AddrPort, offer: offer}
	fd, err := e.join(app, d, connect)
	if err != nil {
		_ = offer.Close()
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err = s.add(ino, e); err == nil {
		if err = offer.Wait(context.Background()); err == nil {
			err = offer.Hand(fd)
		}
	}
	go func() {
		if err != nil {
			_ = offer.Close()
		}
		offer.Ended()
		s.remove(ino, e)
	}()
	if err != nil {
		return nil, unix.ENOBUFS
	}
	return e, nil
}

// join returns a socket of ours that is connected to app. If connect is set, it also
// connects app to that socket. If it fails, it leaves no socket open.
func (e *exchange) join(app int, d destination, connect bool) (fd int, err error) {
	fd, e.family, e.at, err = place(app, d.mapped, unix.SOCK_DGRAM, func(int) error { return nil })
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if connect {
		if err = connectTo(app, e.family, e.at); err != nil {
			return fd, err
		}
	} else if err = bindAny(app, e.family); err != nil {
		return fd, err
	}
	name, err := unix.Getsockname(app)
	if err != nil {
		return fd, err
	}
	back := addrPort(name)
	if back.Addr().IsUnspecified() {
		from := e.at.Addr()
		if from == datagrams4 {
			from = loopback4 // from which the kernel sends to all of 127.0.0.0/8
		}
		back = netip.AddrPortFrom(from, back.Port())
	}
	err = connectTo(fd, ownFamily(e.at), back)
	return fd, err
}

// bindAny gives app a port, as the first send would do.
func bindAny(app, family int) error {
	name, err := unix.Getsockname(app)
	if err != nil || addrPort(name).Port() != 0 {
		return err
	}
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	if family == unix.AF_INET {
		return unix.Bind(app, unixSockaddr(family, netip.AddrPortFrom(any4, 0)))
	}
	return unix.Bind(app, unixSockaddr(family, netip.AddrPortFrom(any6, 0)))
}

func (s *supervisor) add(ino uint64, e *exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.senders[ino]
	if known == nil {
		known = &sender{to: make(map[netip.AddrPort]*exchange), from: make(map[netip.AddrPort]*exchange)}
		s.senders[ino] = known
	}
	if len(known.from) >= maxExchanges {
		return unix.ENOBUFS
	}
	known.to[e.target], known.from[e.at] = e, e
	return nil
}

func (s *supervisor) remove(ino uint64, e *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.senders[ino]
	if known == nil {
		return
	}
	if known.to[e.target] == e {
		delete(known.to, e.target)
	}
	if known.from[e.at] == e {
		delete(known.from, e.at)
	}
	if len(known.from) == 0 {
		delete(s.senders, ino)
		delete(s.carried, ino)
	}
}
