package names

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// listener is the socket of one endpoint.
type listener struct {
	io.Closer
	at        netip.AddrPort
	named     bool // at the name's own address and port, not at 127.0.0.1
	noAddress bool // at 127.0.0.1, since this system has no other loopback addresses
	held      bool // connections wait for the gateway's answer
}

// problem is why an endpoint has no listener.
type problem struct {
	err    error
	at     netip.AddrPort // the address that could not be bound
	holder owner.Process  // of a conflict, zero if unknown
	other  uint16         // of a conflict at localhost: a port that was free, 0 if none was found
}

func (p *problem) conflict() bool { return errors.Is(p.err, syscall.EADDRINUSE) }

var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// listen binds e and serves it: at the name's own address if named, else at 127.0.0.1
// on a port that stands for e.
func (s *Source) listen(e endpoint, named bool) (*listener, error) {
	if e.local() {
		return s.listenLocal(e)
	}
	l := &listener{named: named}
	var err error
	if named {
		a := s.addrs.of(e.host)
		if !a.IsValid() {
			return nil, errNoAddress
		}
		l.at = netip.AddrPortFrom(a, e.port)
		err = s.bind(l, e)
		if errors.Is(err, syscall.EADDRNOTAVAIL) && s.o.Place == nil {
			l.named, l.noAddress = false, true
		}
	}
	for try := 0; !l.named && l.Closer == nil && try < localTries; try++ {
		l.at = netip.AddrPortFrom(localhost, localPort(s.o.UID, e, try))
		err = s.bind(l, e)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// bind opens the socket of e at l.at and serves it.
func (s *Source) bind(l *listener, e endpoint) error {
	if e.udp {
		pc, err := s.listenUDP(l.at)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l.at, err)
		}
		d := &datagrams{s: s, target: tunnel.Target{Network: tunnel.UDP, Host: e.host, Port: e.port}, at: l.at, conn: pc.(*net.UDPConn)}
		l.Closer = d.conn
		s.wg.Go(d.serve)
		return nil
	}
	if l.named {
		port, err := s.hold(l.at, e)
		if err == nil {
			l.Closer, l.held = port, true
			return nil
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	ln, err := s.listenTCP(l.at)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.at, err)
	}
	l.Closer = ln
	s.wg.Go(func() { s.accept(ln, e) })
	return nil
}

// listenTCP listens. If this process lacks the right, the editor listens instead. If
// the editor lacks it too, listenTCP returns the first error: see betterError.
func (s *Source) listenTCP(at netip.AddrPort) (net.Listener, error) {
	c := s.listenConfig()
	c.SetMultipathTCP(false) // loopback and bridges have one path
	ln, err := c.Listen(s.setup, "tcp", at.String())
	if s.mayHelp(err) {
		passed, perr := s.hosts.editor.ListenTCP(s.setup, at)
		if perr == nil {
			return passed, nil
		}
		err = betterError(err, perr, net.TCPAddrFromAddrPort(at))
	}
	return ln, err
}

// listenUDP is listenTCP for UDP.
func (s *Source) listenUDP(at netip.AddrPort) (net.PacketConn, error) {
	c := s.listenConfig()
	pc, err := c.ListenPacket(s.setup, "udp", at.String())
	if s.mayHelp(err) {
		passed, perr := s.hosts.editor.ListenUDP(s.setup, at)
		if perr == nil {
			return passed, nil
		}
		err = betterError(err, perr, net.UDPAddrFromAddrPort(at))
	}
	return pc, err
}

func (s *Source) listenConfig() (c net.ListenConfig) {
	if s.o.Place != nil {
		c.Control = hostnet.BindTo(s.o.Place.Device)
	} else {
		c.KeepAlive = -1 // the kernel reports the end of a client on this machine
	}
	return c
}

// betterError returns the error of this process, which lacks a right, unless the editor
// has found that the port is taken. The editor's errors are texts.
func betterError(own, editors error, at net.Addr) error {
	if strings.Contains(editors.Error(), syscall.EADDRINUSE.Error()) {
		return &net.OpError{Op: "listen", Net: at.Network(), Addr: at, Err: syscall.EADDRINUSE}
	}
	return own
}

// mayHelp tells whether the editor may have the right that err is about.
func (s *Source) mayHelp(err error) bool {
	return errors.Is(err, os.ErrPermission) && s.hosts.editor != nil && !s.hosts.died()
}

// accept serves ln until it is closed. If there are too many connections, the next
// client waits.
func (s *Source) accept(ln net.Listener, e endpoint) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // for example no descriptors left: try again
			s.o.Log.Warn().Err(err).Stringer("at", ln.Addr()).Msg("cannot accept connections")
			select {
			case <-s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			netx.ResetConn(c, "closed")
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			s.serve(c.(*net.TCPConn), e)
		})
	}
}

// serve carries one accepted connection, and closes it.
func (s *Source) serve(c *net.TCPConn, e endpoint) {
	s.recent.touch(e.host)
	target := tunnel.Target{Network: tunnel.TCP, Host: e.host, Port: e.port}
	who, err := s.o.Check(c)
	if err != nil {
		netx.ResetConn(c, "not allowed")
		s.o.Gateway.Stranger(target, err)
		return
	}
	s.o.Gateway.Accepted(s.ctx, c, "names", target, who, s.o.Check)
}

func (s *Source) setProblem(e endpoint, err error) {
	p := &problem{err: err}
	if e.local() {
		p.at = localAt(e, err)
	} else {
		p.at = netip.AddrPortFrom(s.addrs.of(e.host), e.port)
	}
	if old := s.problems[e]; old != nil && p.conflict() && old.at == p.at {
		p.holder, p.other = old.holder, old.other
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

// findHolders looks for the programs that hold the ports in conflict. It looks at
// once for a new conflict, and every 15 s for old ones, since it reads much of /proc.
func (s *Source) findHolders() {
	at := make(map[bool][]netip.AddrPort) // the key is true for UDP
	fresh := false
	for e, p := range s.problems {
		if p.conflict() {
			at[e.udp] = append(at[e.udp], p.at)
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
	tcp, err := owner.Holders(false, at[false])
	udp, uerr := owner.Holders(true, at[true])
	if err := errors.Join(err, uerr); err != nil {
		s.o.Log.Debug().Err(err).Msg("cannot tell who holds a port")
		return
	}
	for e, p := range s.problems {
		if p.conflict() {
			p.holder = tcp[p.at]
			if e.udp {
				p.holder = udp[p.at]
			}
		}
		if p.conflict() && e.local() {
			p.other = s.freeLocal(e)
		}
	}
}
