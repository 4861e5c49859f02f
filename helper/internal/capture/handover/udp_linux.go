package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// checkEvery is how often a silent UDP flow looks whether the program's socket
// still exists: nothing else tells of its end.
const checkEvery = 30 * time.Second

// exchange relays the datagrams of one socket of a program and one target. The
// flow at the gateway may end when idle; the next datagram opens another.
type exchange struct {
	s   *Server
	req tunnel.Request
	app *net.UDPConn // connected to the program's socket
	ctx context.Context
	wg  sync.WaitGroup

	mu sync.Mutex
	st *tunnel.Stream // nil while there is none
}

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
	e := &exchange{s: s, req: req, app: app, ctx: ctx}
	defer e.wg.Wait()
	defer cancel()
	// The asker ends an exchange whose place is needed by closing its connection.
	s.wg.Go(func() { _, _ = c.Read(make([]byte, 1)); cancel() })
	err = e.forth()
	_ = c.Close()
	_ = app.Close()
	e.end()
	return err
}

// forth passes on what the program sends.
func (e *exchange) forth() error {
	local := e.app.LocalAddr().(*net.UDPAddr).AddrPort()
	remote := e.app.RemoteAddr().(*net.UDPAddr).AddrPort()
	buf := netx.NewChunk(netx.MaxDatagram)
	defer buf.Release()
	for {
		_ = e.app.SetReadDeadline(time.Now().Add(checkEvery))
		n, err := e.app.Read(buf.Room()[:netx.MaxDatagram])
		var timeout net.Error
		switch {
		case err == nil:
			if st := e.stream(); st != nil {
				_, _ = st.Write(buf.Room()[:n])
			}
		case errors.As(err, &timeout) && timeout.Timeout():
			if !e.alive(local, remote) {
				return nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return err // refused: the program's socket is closed
		}
	}
}

func (e *exchange) alive(local, remote netip.AddrPort) bool {
	_, err := e.s.o.CheckUDP(local, remote)
	return err == nil
}

// stream returns the flow, opening it if need be; nil if that cannot be.
func (e *exchange) stream() *tunnel.Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.st != nil || e.ctx.Err() != nil {
		return e.st
	}
	st, err := e.s.o.Tunnel.Open(e.ctx, e.req, nil)
	if err != nil {
		return nil
	}
	e.st = st
	e.wg.Go(func() { e.back(st) })
	return st
}

// back passes on what the target says until the flow ends.
func (e *exchange) back(st *tunnel.Stream) {
	defer func() {
		_ = st.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.st == st {
			e.st = nil
		}
	}()
	if _, err := st.Answer(e.ctx); err != nil {
		e.s.o.Log.Debug().Err(err).Str("host", e.req.Target.Host).Msg("datagrams refused")
		return
	}
	buf := netx.NewChunk(netx.MaxDatagram)
	defer buf.Release()
	for {
		n, err := st.Read(buf.Room()[:netx.MaxDatagram])
		if err != nil {
			return
		}
		_, _ = e.app.Write(buf.Room()[:n])
	}
}

func (e *exchange) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.st != nil {
		_ = e.st.Close()
	}
}
