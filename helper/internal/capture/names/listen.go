package names

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
)

// listener is the socket of one endpoint.
type listener struct {
	net.Listener
	at        netip.AddrPort
	named     bool // at the name's own address and port, for the hosts file
	noAddress bool // at 127.0.0.1 since this system has no other
}

// problem is why an endpoint has no listener.
type problem struct {
	err    error
	at     netip.AddrPort // what could not be bound
	holder owner.Process  // of a conflict, zero if unknown
}

func (p *problem) conflict() bool { return errors.Is(p.err, syscall.EADDRINUSE) }

var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// listen binds e and serves it: at its own address if named, else at 127.0.0.1
// on a port that stands for it.
func (s *Source) listen(e endpoint, named bool) (*listener, error) {
	l := &listener{named: named}
	var err error
	if named {
		l.at = netip.AddrPortFrom(s.addrs.of(e.host), e.port)
		l.Listener, err = s.bind(l.at)
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			l.named, l.noAddress = false, true
		}
	}
	for try := 0; !l.named && l.Listener == nil && try < localTries; try++ {
		l.at = netip.AddrPortFrom(localhost, localPort(s.o.UID, e, try))
		l.Listener, err = s.bind(l.at)
	}
	if err != nil {
		return nil, err
	}
	s.wg.Go(func() { s.accept(l, e) })
	return l, nil
}

func (s *Source) bind(at netip.AddrPort) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false) // loopback has one path
	ln, err := c.Listen(s.setup, "tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	return ln, nil
}

// accept serves l until it is closed.
func (s *Source) accept(l *listener, e endpoint) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as no descriptors left: it may pass
			s.o.Log.Warn().Err(err).Stringer("at", l.at).Msg("cannot accept connections")
			select {
			case <-s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.wg.Go(func() { s.serve(c.(*net.TCPConn), e) })
	}
}

func (s *Source) setProblem(e endpoint, err error) {
	p := &problem{err: err, at: netip.AddrPortFrom(s.addrs.of(e.host), e.port)}
	if old := s.problems[e]; old != nil && p.conflict() {
		p.holder = old.holder
	}
	s.problems[e] = p
}

func (s *Source) anyConflict() bool {
	for _, p := range s.problems {
		if p.conflict() {
			return true
		}
	}
	return false
}

// findHolders asks who holds the ports in conflict: of new conflicts at once,
// of old ones now and then, since it reads much of /proc.
func (s *Source) findHolders() {
	var at []netip.AddrPort
	fresh := false
	for _, p := range s.problems {
		if p.conflict() {
			at = append(at, p.at)
			fresh = fresh || p.holder == owner.Process{}
		}
	}
	if len(at) == 0 {
		s.lastLook = time.Time{}
		return
	}
	wait := 15 * time.Second
	if fresh {
		wait = s.o.Retry / 2
	}
	if time.Since(s.lastLook) < wait {
		return
	}
	s.lastLook = time.Now()
	found, err := owner.Holders(at)
	if err != nil {
		s.o.Log.Debug().Err(err).Msg("cannot tell who holds a port")
		return
	}
	for _, p := range s.problems {
		if p.conflict() {
			p.holder = found[p.at]
		}
	}
}
