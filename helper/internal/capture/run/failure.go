//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// collect returns the result of an attempt and forgets the attempt.
func (s *supervisor) collect(ino uint64, app int, a *attempt) unix.Errno {
	<-a.done
	s.drop(ino, a)
	if a.errno != 0 {
		_, _ = unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_ERROR) // the kernel's word for it
	}
	return a.errno
}

// socketError answers SO_ERROR with the real error of an attempt. The kernel only
// knows that the connection was refused.
func (s *supervisor) socketError(c *call) {
	s.mu.Lock()
	some := len(s.attempts) > 0
	s.mu.Unlock()
	if !some {
		c.pass()
		return
	}
	ino := c.t.inode(c.fd())
	s.mu.Lock()
	a := s.attempts[ino]
	s.mu.Unlock()
	if a == nil || !a.over() || a.errno == 0 {
		c.pass()
		return
	}
	app, err := s.descriptor(c)
	if err != nil {
		c.pass()
		return
	}
	defer func() { _ = unix.Close(app) }()
	var value [4]byte
	binary.NativeEndian.PutUint32(value[:], uint32(a.errno))
	if errno := c.writeName(c.n.args[3], c.n.args[4], value[:]); errno != 0 {
		c.fail(errno)
		return
	}
	s.collect(ino, app, a) // before the program can ask again
	if !c.fail(0) {
		s.keep(ino, a)
	}
}
