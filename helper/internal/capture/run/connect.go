//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

const (
	// answerTime bounds an attempt, as the kernel does for its own connects.
	answerTime = 130 * time.Second
)

// attempt is a connect of a stream socket that is under way. As with a connect of
// the kernel, it continues if a signal interrupts its call. If the program calls
// connect again, that call joins the attempt.
type attempt struct {
	held    bool          // its socket is in the connecting state meanwhile
	decided chan struct{} // closed once errno is valid
	done    chan struct{} // closed once the socket shows it too
	errno   unix.Errno
}

func (a *attempt) over() bool {
	select {
	case <-a.decided:
		return true
	default:
		return false
	}
}

// connect judges connect(2).
func (s *supervisor) connect(c *call) {
	d, raw, ok, err := c.destination(c.n.args[1], int(int32(c.n.args[2])))
	if err != nil {
		s.unreadable(c, err)
		return
	}
	here := !ok || d.isLocal() && !s.has(c.t.inode(c.fd()))
	if here && !s.only {
		s.forget(c)
		s.letGoStream(c)
		c.pass()
		return
	}
	app, err := s.descriptor(c)
	if err != nil {
		s.unheld(c, err, ok && !d.isLocal())
		return
	}
	defer func() { _ = unix.Close(app) }()
	switch kind := kindOf(app); {
	case kind != 0 && here:
		s.forget(c)
		s.answer(c, func() (int, error) { return 0, s.connectHere(c, app, kind, raw) })
	case kind == tunnel.TCP:
		if errno, answered := s.stream(c, app, d, raw); !answered {
			c.fail(errno)
		}
	case kind == tunnel.UDP:
		s.connectDatagrams(c, app, d, raw)
	default:
		s.another(c, app)
	}
}

// connectHere makes a connect to this machine. After it, the supervisor no longer
// keeps the stream.
func (s *supervisor) connectHere(c *call, app int, kind tunnel.Network, raw []byte) error {
	err := c.connectFor(app, raw)
	if kind == tunnel.TCP && (err == nil || errors.Is(err, unix.EINPROGRESS)) {
		s.letGo(inodeOf(app))
	}
	return err
}

// connectAs connects a program's socket with our copy of the address. It blocks if
// the socket is in blocking mode.
func connectAs(app int, raw []byte) error {
	if len(raw) == 0 {
		return unix.EINVAL
	}
	for {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(app), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// has tells whether the socket has an attempt.
func (s *supervisor) has(ino uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[ino] != nil
}

// forget drops the state of a socket that is connected elsewhere, or disconnected by
// AF_UNSPEC.
func (s *supervisor) forget(c *call) {
	s.mu.Lock()
	some := len(s.carried)+len(s.attempts) > 0
	s.mu.Unlock()
	if !some {
		return
	}
	ino := c.t.inode(c.fd())
	s.mu.Lock()
	delete(s.carried, ino)
	delete(s.attempts, ino)
	s.mu.Unlock()
}

// stream connects app. If answered is false, the caller answers the call with errno.
func (s *supervisor) stream(c *call, app int, d destination, raw []byte) (errno unix.Errno, answered bool) {
	ino := inodeOf(app)
	// A multipath socket cannot meet ours while it connects, so its call waits.
	blocking := isBlocking(app) || isMultipath(app)
	s.mu.Lock()
	a := s.attempts[ino]
	s.mu.Unlock()
	switch {
	case a != nil && !blocking && !a.over():
		return unix.EALREADY, false
	case a != nil && a.over():
		return s.collect(ino, app, a), false
	case a != nil:
		errno, answered = s.await(c, ino, app, a)
		if errno == unix.EINPROGRESS {
			errno = unix.EALREADY // begun by another call
		}
		return errno, answered
	}
	if state := streamState(app); state != tcpClose {
		// Connected or listening: the kernel returns the right error for any
		// address.
		s.otherwise(c, goOn, func() (int, error) { return 0, connectNowhere(app) })
		return 0, true
	}
	v, offer := s.decide(c.t, tunnel.TCP, d)
	if v != carried {
		s.letGo(ino)
		s.otherwise(c, v, func() (int, error) { return 0, c.connectFor(app, raw) })
		return 0, true
	}
	r, err := s.rendezvous(app, d.mapped, !blocking)
	if err != nil {
		_ = offer.Close()
		return errnoOf(err), false
	}
	if !blocking {
		if err := r.connect(app); err != unix.EINPROGRESS {
			r.close()
			_ = offer.Close()
			return errnoOf(err), false
		}
	}
	// The attempt's own descriptor keeps the socket open until the result is known.
	own, err := unix.FcntlInt(uintptr(app), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		r.close()
		_ = offer.Close()
		return unix.ENOBUFS, false
	}
	a = &attempt{held: !blocking, decided: make(chan struct{}), done: make(chan struct{})}
	s.keep(ino, a)
	go s.finish(a, ino, own, r, offer, peerOf(raw))
	if !blocking {
		return unix.EINPROGRESS, false
	}
	return s.await(c, ino, app, a)
}

// connectNowhere connects a socket that cannot be connected, to get the kernel's
// error. If the socket has become connectable meanwhile, the connection is refused.
func connectNowhere(app int) error {
	family, err := unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	at := netip.AddrPortFrom(loopback4, 0)
	if family == unix.AF_INET6 {
		at = netip.AddrPortFrom(loopback6, 0)
	}
	return connectTo(app, family, at)
}

// rendezvous makes a place to which app connects. Sockets that have to wait share
// one.
func (s *supervisor) rendezvous(app int, mapped, wait bool) (*rendezvous, error) {
	if !wait {
		return open(app, mapped)
	}
	family, err := unix.GetsockoptInt(app, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, err
	}
	only, _ := unix.GetsockoptInt(app, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	key := spot{family, mapped, only != 0}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.silent[key]; r != nil {
		return r, nil
	}
	r, err := openSilent(app, mapped)
	if err == nil {
		s.silent[key] = r
	}
	return r, err
}

// spot is the key of a shared rendezvous: sockets with the same spot can reach the
// same loopback address.
type spot struct {
	family       int
	mapped, only bool
}

// await waits for the attempt in place of the kernel.
func (s *supervisor) await(c *call, ino uint64, app int, a *attempt) (unix.Errno, bool) {
	var late <-chan time.Time
	limit, limited := hasLimit(app, unix.SO_SNDTIMEO)
	if limited {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	c.q.waiting.Add(1)
	defer c.q.waiting.Add(-1)
	look := time.NewTimer(c.q.pause())
	defer look.Stop()
	for {
		select {
		case <-a.done:
			val := 0
			if a.errno == 0 && c.then != nil {
				n, err := c.then(app)
				if val = n; err != nil {
					return errnoOf(err), false
				}
			}
			s.drop(ino, a) // before the program can ask again
			if !c.send(response{errno: -int32(a.errno), val: int64(val)}) {
				s.keep(ino, a)
			}
			return 0, true
		case <-late:
			return unix.EINPROGRESS, false
		case <-look.C:
			if err := c.interrupted(limited); err != nil {
				return errnoOf(err), false
			}
			look.Reset(c.q.pause())
		}
	}
}

// finish waits for the gateway and gives app the connection or the error. It owns
// app, r and offer.
func (s *supervisor) finish(a *attempt, ino uint64, app int, r *rendezvous, offer *handover.Offer, peer []byte) {
	defer func() { _ = unix.Close(app) }()
	defer r.close()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	err := offer.Wait(ctx)
	if err == nil {
		s.mu.Lock()
		s.carried[ino] = peer
		if a.held {
			delete(s.attempts, ino) // the kernel's state tells the rest
		}
		s.mu.Unlock()
		if err = handStream(app, a.held, r, offer); err != nil {
			a.errno = errnoOf(err)
			s.uncarry(ino, peer)
			s.keep(ino, a)
		}
	} else if a.errno = failure(err); ctx.Err() != nil {
		a.errno = unix.ETIMEDOUT
	}
	// The result is known before the program wakes, since the program asks at once.
	close(a.decided)
	defer close(a.done)
	time.AfterFunc(keepResult, func() { s.drop(ino, a) })
	if err != nil {
		_ = offer.Close()
		if a.held {
			abandon(app)
		}
		return
	}
	s.letGo(ino)
	go func() {
		offer.Ended()
		s.uncarry(ino, peer)
	}()
}

// handStream connects app to us and hands our end to the capture.
func handStream(app int, held bool, r *rendezvous, offer *handover.Offer) error {
	var end int
	var err error
	if !held {
		if err = r.connect(app); err != nil && err != unix.EINPROGRESS {
			return err
		}
		end, err = r.accept(app)
	} else {
		end, err = r.meet(app)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(end) }()
	return offer.Hand(end)
}

// letGo stops keeping a socket whose result is known, so that the program's close
// closes it.
func (s *supervisor) letGo(ino uint64) {
	if s.kept != nil {
		s.kept.drop(ino)
	}
}

// letGoStream stops keeping the call's socket if it is a stream.
func (s *supervisor) letGoStream(c *call) {
	if s.kept == nil {
		return
	}
	if fd, err := s.descriptor(c); err == nil {
		if kindOf(fd) == tunnel.TCP {
			s.letGo(inodeOf(fd))
		}
		_ = unix.Close(fd)
	}
}

// uncarry forgets the peer of a socket, unless the socket has another peer now.
func (s *supervisor) uncarry(ino uint64, peer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.carried[ino]; len(now) > 0 && &now[0] == &peer[0] {
		delete(s.carried, ino)
	}
}

func (s *supervisor) keep(ino uint64, a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts[ino] = a
}

func (s *supervisor) drop(ino uint64, a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts[ino] == a {
		delete(s.attempts, ino)
	}
}

// peerOf returns the address that getpeername gives for a socket that was connected
// to raw.
func peerOf(raw []byte) []byte {
	d, _ := parseSockaddr(raw)
	at := d.AddrPort
	name := sockaddr(int(d.family), at)
	if d.family == unix.AF_INET6 && len(raw) >= size6 {
		copy(name[24:], raw[24:size6]) // the scope
	}
	return name
}
