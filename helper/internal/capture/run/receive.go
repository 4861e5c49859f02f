//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// receive judges recvfrom, recvmsg and recvmmsg. For a UDP socket that has sent to
// covered targets, the supervisor receives in place of the program. The program then
// sees the target as the source instead of our loopback address.
func (s *supervisor) receive(c *call) {
	s.mu.Lock()
	some := len(s.senders) > 0
	s.mu.Unlock()
	flagsAt := map[int32]int{unix.SYS_RECVFROM: 3, unix.SYS_RECVMSG: 2, unix.SYS_RECVMMSG: 3}[c.n.nr]
	flags := int(int32(c.n.args[flagsAt]))
	if !some || flags&unix.MSG_ERRQUEUE != 0 || !s.sends(c.t.inode(c.fd())) {
		c.pass()
		return
	}
	app, err := s.descriptor(c)
	if err != nil {
		c.pass()
		return
	}
	defer func() { _ = unix.Close(app) }()
	switch c.n.nr {
	case unix.SYS_RECVFROM:
		a := &c.n.args
		s.answer(c, func() (int, error) {
			m := plain(a[1], a[2], a[4], 0)
			r, err := s.receiveOn(c, app, m, flags)
			if err != nil {
				return 0, err
			}
			if errno := c.writeName(a[4], a[5], r.name); errno != 0 {
				return 0, errno
			}
			return r.n, nil
		})
	case unix.SYS_RECVMSG:
		s.answer(c, func() (int, error) { return s.receiveMessage(c, app, c.n.args[1], flags) })
	default:
		s.answer(c, func() (int, error) {
			count := min(int(uint32(c.n.args[2])), maxMessages)
			for i := range count {
				at := c.n.args[1] + uint64(i)*messagesSize
				n, err := s.receiveMessage(c, app, at, flags&^unix.MSG_WAITFORONE)
				if err != nil {
					if i == 0 {
						return 0, err
					}
					return i, nil
				}
				var length [4]byte
				binary.NativeEndian.PutUint32(length[:], uint32(n))
				if c.t.write(at+offLength, length[:]) != nil {
					return 0, unix.EFAULT
				}
				flags |= unix.MSG_DONTWAIT // what is there, once there was something
			}
			return count, nil
		})
	}
}

func (s *supervisor) sends(ino uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.senders[ino] != nil
}

// received is one datagram, its payload in the program's memory already.
type received struct {
	n       int // as the call returns it
	name    []byte
	control []byte
	flags   int
}

func (s *supervisor) receiveMessage(c *call, app int, at uint64, flags int) (int, error) {
	m, err := c.t.message(at)
	if err != nil {
		return 0, unix.EFAULT
	}
	r, err := s.receiveOn(c, app, m, flags)
	if err != nil {
		return 0, err
	}
	var word [8]byte
	if m.name != 0 {
		if err := c.t.write(m.name, r.name[:max(0, min(len(r.name), m.nameSize))]); err != nil {
			return 0, unix.EFAULT
		}
		binary.NativeEndian.PutUint32(word[:], uint32(len(r.name)))
		if err := c.t.write(at+offNameSize, word[:4]); err != nil {
			return 0, unix.EFAULT
		}
	}
	if err := c.t.write(m.control, r.control); err != nil {
		return 0, unix.EFAULT
	}
	binary.NativeEndian.PutUint64(word[:], uint64(len(r.control)))
	if err := c.t.write(at+offControl, word[:]); err != nil {
		return 0, unix.EFAULT
	}
	binary.NativeEndian.PutUint32(word[:], uint32(r.flags))
	if err := c.t.write(at+offFlags, word[:4]); err != nil {
		return 0, unix.EFAULT
	}
	return r.n, nil
}

// receiveOn receives one datagram as the program's call would.
func (s *supervisor) receiveOn(c *call, app int, m message, flags int) (received, error) {
	wait := isBlocking(app) && flags&unix.MSG_DONTWAIT == 0
	limit, limited := hasLimit(app, unix.SO_RCVTIMEO)
	end := time.Now().Add(limit)
	payload, control := make([]byte, m.size), make([]byte, m.controlSize)
	if !c.waits() {
		return received{}, unix.EINTR
	}
	for {
		n, oobn, got, from, err := unix.RecvmsgBuffers(app, [][]byte{payload}, control, flags|unix.MSG_DONTWAIT)
		if err == nil {
			if c.t.scatter(m, payload[:min(n, len(payload))]) != nil {
				return received{}, unix.EFAULT
			}
			return received{n, s.sourceName(app, from), control[:oobn], got}, nil
		}
		if err != unix.EAGAIN || !wait || limited && !time.Now().Before(end) {
			return received{}, err
		}
		if err := c.ready(app, unix.POLLIN, limited); err != nil {
			return received{}, err
		}
	}
}

// sourceName encodes the source of a datagram. If it came from our socket, that is
// the target.
func (s *supervisor) sourceName(app int, from unix.Sockaddr) []byte {
	family, err := unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_DOMAIN)
	at := addrPort(from)
	if err != nil || !at.IsValid() {
		return nil
	}
	s.mu.Lock()
	if known := s.senders[inodeOf(app)]; known != nil && known.from[at] != nil {
		at = known.from[at].target
	}
	s.mu.Unlock()
	name := sockaddr(family, at)
	if v6, ok := from.(*unix.SockaddrInet6); ok && len(name) == size6 {
		binary.NativeEndian.PutUint32(name[24:], v6.ZoneId)
	}
	return name
}
