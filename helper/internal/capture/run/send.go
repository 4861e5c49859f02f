//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

// sendTo judges sendto(2) with an address.
func (s *supervisor) sendTo(c *call) {
	a := &c.n.args
	s.sendOne(c, plain(a[1], a[2], a[4], int(int32(a[5]))), int(int32(a[3])))
}

// sendMessage judges sendmsg(2).
func (s *supervisor) sendMessage(c *call) {
	m, err := c.t.message(c.n.args[1])
	if err != nil {
		s.unreadable(c, err)
		return
	}
	s.sendOne(c, m, int(int32(c.n.args[2])))
}

func (s *supervisor) sendOne(c *call, m message, flags int) {
	d, raw, ok, err := c.target(m)
	if err != nil {
		s.unreadable(c, err)
		return
	}
	if !s.only && (!ok || d.isLocal()) {
		c.pass()
		return
	}
	app, err := s.descriptor(c)
	if err != nil {
		s.unheld(c, err, ok && !d.isLocal())
		return
	}
	defer func() { _ = unix.Close(app) }()
	itself := func() (int, error) { return c.sendOn(app, m, flags, raw, harmless) }
	switch kind := kindOf(app); {
	case kind == tunnel.TCP && flags&msgFastOpen != 0 && (!ok || d.isLocal()):
		s.forget(c)
		s.answer(c, func() (int, error) { return s.openHere(c, app, m, flags, raw, ok) })
	case kind == tunnel.TCP && flags&msgFastOpen != 0:
		c.then = func(app int) (int, error) { return c.sendOn(app, m, flags&^msgFastOpen, nil, onlySegments) }
		if errno, answered := s.stream(c, app, d, raw); !answered {
			c.fail(errno)
		}
	case kind == tunnel.TCP:
		c.pass() // connected, or not: the address counts for nothing
	case kind == tunnel.UDP:
		d, ok = understood(app, d, raw, ok)
		if !ok {
			s.answer(c, itself)
			return
		}
		e, v, err := s.exchangeFor(c, app, d)
		if v != carried {
			s.otherwise(c, v, itself)
			return
		}
		n := 0
		if err == nil {
			n, err = c.sendOn(app, m, flags, sockaddr(e.family, e.at), onlySegments)
		}
		if err != nil {
			c.fail(errnoOf(err))
			return
		}
		c.give(n)
	default:
		s.another(c, app)
	}
}

// target reads the destination of a message. ok is false if the message has none.
func (c *call) target(m message) (d destination, raw []byte, ok bool, err error) {
	if m.name == 0 || m.nameSize == 0 {
		return d, nil, false, nil
	}
	d, raw, ok, err = c.destination(m.name, m.nameSize)
	if err == nil && raw == nil {
		err = unix.EINVAL // a length that no address has
	}
	return d, raw, ok, err
}

// understood returns the destination as the kernel reads it: for an IPv4 socket,
// AF_UNSPEC means AF_INET.
func understood(app int, d destination, raw []byte, ok bool) (destination, bool) {
	if ok || len(raw) < size4 || d.family != unix.AF_UNSPEC {
		return d, ok
	}
	if family, err := unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || family != unix.AF_INET {
		return d, false
	}
	spelt := append([]byte(nil), raw...)
	binary.NativeEndian.PutUint16(spelt, unix.AF_INET)
	return parseSockaddr(spelt)
}

// openHere does a connect to loopback and a send in one call.
func (s *supervisor) openHere(c *call, app int, m message, flags int, raw []byte, connects bool) (int, error) {
	if !connects || flags&unix.MSG_DONTWAIT != 0 || !isBlocking(app) {
		n, err := c.sendOn(app, m, flags|unix.MSG_DONTWAIT, raw, harmless)
		if err == nil || errors.Is(err, unix.EINPROGRESS) {
			s.letGo(inodeOf(app))
		}
		return n, err
	}
	if err := s.connectHere(c, app, tunnel.TCP, raw); err != nil {
		return 0, err
	}
	return c.sendOn(app, m, flags&^msgFastOpen, nil, harmless)
}

// sendMessages judges sendmmsg(2). Once one of the messages is for a covered target,
// the supervisor sends all of them. With Only, it always does.
func (s *supervisor) sendMessages(c *call) {
	count, flags := min(int(uint32(c.n.args[2])), maxMessages), int(int32(c.n.args[3]))
	if flags&msgFastOpen != 0 && count > 0 {
		// The program sends the other messages with another call: sendmmsg may send
		// fewer than it was given.
		m, err := c.t.message(c.n.args[1])
		if err != nil {
			s.unreadable(c, err)
			return
		}
		c.one = m.at
		s.sendOne(c, m, flags)
		return
	}
	app := -1
	defer func() {
		if app >= 0 {
			_ = unix.Close(app)
		}
	}()
	// take tells whether the messages have to be judged.
	take := func(away bool) bool {
		var err error
		if app, err = s.descriptor(c); err != nil {
			s.unheld(c, err, away)
			return false
		}
		switch kindOf(app) {
		case tunnel.UDP:
			return true
		case tunnel.TCP:
			c.pass()
		default:
			s.another(c, app)
		}
		return false
	}
	sent, ours := 0, false
	for i := range count {
		m, err := c.t.message(c.n.args[1] + uint64(i)*messagesSize)
		var d destination
		var to []byte
		var ok bool
		if err == nil {
			d, to, ok, err = c.target(m)
		}
		if err != nil {
			if i == 0 {
				s.unreadable(c, err)
				return
			}
			break
		}
		if app < 0 && (ok || s.only) && !take(ok && !d.isLocal()) {
			return
		}
		if s.only {
			d, ok = understood(app, d, to, ok)
			ours = true
		} else if len(to) > 0 && !ok {
			break
		}
		keep := everything
		if s.only {
			keep = harmless
		}
		if ok {
			e, v, err := s.exchangeFor(c, app, d)
			switch {
			case err != nil || v == denied:
				if sent == 0 {
					c.fail(unix.EACCES)
				} else {
					c.give(sent)
				}
				return
			case v == carried:
				to, keep, ours = sockaddr(e.family, e.at), onlySegments, true
			}
		}
		if !ours && (app < 0 || count == 1) {
			c.pass()
			return
		}
		n, err := c.sendOn(app, m, flags, to, keep)
		if err != nil {
			if sent == 0 {
				c.fail(errnoOf(err))
				return
			}
			break
		}
		c.writeLength(m.at, n)
		sent++
	}
	if sent == 0 {
		c.pass()
		return
	}
	c.give(sent)
}

// writeLength writes the sent length of the message at an address.
func (c *call) writeLength(at uint64, n int) {
	var length [4]byte
	binary.NativeEndian.PutUint32(length[:], uint32(n))
	_ = c.t.write(at+offLength, length[:])
}

// sendOn sends a program's message on its socket to an encoded address, with the
// control messages that keep admits.
func (c *call) sendOn(app int, m message, flags int, to []byte, keep controls) (int, error) {
	payload, err := c.t.gather(m)
	if err != nil {
		return 0, err
	}
	control, err := c.t.control(m, keep)
	if err != nil {
		return 0, err
	}
	wait := isBlocking(app) && flags&unix.MSG_DONTWAIT == 0
	if !c.waits() {
		return 0, unix.EINTR
	}
	_, limited := hasLimit(app, unix.SO_SNDTIMEO)
	for {
		n, err := sendRaw(app, payload, control, to, flags|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EAGAIN || !wait {
			return n, err
		}
		if err := c.ready(app, unix.POLLOUT, limited); err != nil {
			return 0, err
		}
	}
}

func sendRaw(fd int, payload, control, to []byte, flags int) (int, error) {
	var h unix.Msghdr
	var v unix.Iovec
	if len(payload) > 0 {
		v.Base = &payload[0]
		v.SetLen(len(payload))
		h.Iov = &v
		h.SetIovlen(1)
	}
	if len(control) > 0 {
		h.Control = &control[0]
		h.SetControllen(len(control))
	}
	if len(to) > 0 {
		h.Name, h.Namelen = &to[0], uint32(len(to))
	}
	n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), uintptr(flags))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
