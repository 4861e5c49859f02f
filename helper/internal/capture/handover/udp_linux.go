package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// checkEvery is how often a silent UDP flow checks whether the program's socket still
// exists. The kernel does not report its end.
const checkEvery = 30 * time.Second

// serveUDP answers at once, as a connect of a datagram socket does, and relays
// until the program's socket or the asker's connection is gone.
func (s *Server) serveUDP(c *net.UnixConn, req tunnel.Request) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	_ = c.SetReadDeadline(time.Now().Add(handTime))
	if _, err := c.Write(appendAnswer(nil, tunnel.Connected, "")); err != nil {
		return err
	}
	f, err := readDescriptor(c)
	if err != nil {
		return fmt.Errorf("receive the program's socket: %w", err)
	}
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("use the program's socket: %w", err)
	}
	app, ok := conn.(*net.UDPConn)
	if !ok || app.RemoteAddr() == nil {
		_ = conn.Close()
		return errors.New("the program's socket is no connected UDP socket")
	}
	stop := context.AfterFunc(ctx, func() { _ = app.Close() })
	defer stop()
	_ = c.SetReadDeadline(time.Time{})
	// If the asker needs the place of an exchange, it closes the connection.
	s.wg.Go(func() { _, _ = c.Read(make([]byte, 1)); cancel() })
	p := &program{s: s, app: app, read: netx.DatagramReader(app), target: req.Target}
	s.o.Gateway.Exchange(ctx, p, func(ctx context.Context, _ owner.Owner) (net.Conn, error) {
		st, err := s.o.Gateway.Open(ctx, req)
		if err != nil {
			return nil, err
		}
		return st, nil
	})
	_ = c.Close()
	_ = app.Close()
	return p.err
}

// program is the flow.Program of one socket of a program and one target. The
// gateway ends a flow that was idle; the next datagram opens another.
type program struct {
	s      *Server
	app    *net.UDPConn // connected to the program's socket
	read   func() (*netx.Chunk, error)
	target tunnel.Target
	err    error // why it ended
}

// Receive implements flow.Program.
func (p *program) Receive() (*netx.Chunk, owner.Owner, error) {
	local, remote := p.app.LocalAddr().(*net.UDPAddr).AddrPort(), p.app.RemoteAddr().(*net.UDPAddr).AddrPort()
	for {
		_ = p.app.SetReadDeadline(time.Now().Add(checkEvery))
		chunk, err := p.read()
		var timeout net.Error
		switch {
		case err == nil:
			return chunk, owner.Owner{}, nil
		case errors.As(err, &timeout) && timeout.Timeout():
			if _, err := p.s.o.CheckUDP(local, remote); err == nil {
				continue
			}
		case !errors.Is(err, net.ErrClosed):
			p.err = err // refused: the program's socket is closed
		}
		return nil, owner.Owner{}, err
	}
}

// Deliver implements flow.Program.
func (p *program) Deliver(b []byte) { _, _ = p.app.Write(b) }

// DeliverFrom implements flow.Program. The supervisor shows the program one port of the
// target, so a datagram from another one is lost.
func (p *program) DeliverFrom(uint16, []byte, func([]byte) bool) {}

// Refused implements flow.Program.
func (p *program) Refused() { p.refused(&tunnel.Error{Code: tunnel.Refused}) }

// refused tells the program why its datagrams do not arrive, where that is possible.
func (p *program) refused(err error) {
	if p.s.o.RefuseUDP != nil {
		local, remote := p.app.LocalAddr().(*net.UDPAddr).AddrPort(), p.app.RemoteAddr().(*net.UDPAddr).AddrPort()
		p.s.o.RefuseUDP(remote, local, err)
	}
}

// Late implements flow.Program.
func (p *program) Late([]byte, owner.Owner) bool { return false }

// Ended implements flow.Program.
func (p *program) Ended(err error) {
	if err != nil {
		p.s.o.Gateway.Failed(p.target, err)
		p.refused(err)
	}
}
