package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

const (
	maxConns    = 4096
	requestTime = 5 * time.Second
	handTime    = 10 * time.Second // from a connected answer to the descriptor
	acceptPause = 100 * time.Millisecond
)

// Server is a listening handover.
type Server struct {
	o     Options
	ln    *net.UnixListener
	slots chan struct{}
	ctx   context.Context // alive until Close
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// Listen begins to serve at o.Path. It replaces a socket that a killed helper left
// there.
func Listen(o Options) (*Server, error) {
	_ = os.Remove(o.Path)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: o.Path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for causeway run: %w", err)
	}
	if err := os.Chmod(o.Path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("listen for causeway run: %w", err)
	}
	s := &Server{o: o, ln: ln, slots: make(chan struct{}, maxConns)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Close ends every flow, removes the socket and waits.
func (s *Server) Close() error {
	s.stop()
	err := s.ln.Close()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		select {
		case s.slots <- struct{}{}: // until there is one, askers wait
		case <-s.ctx.Done():
			_ = c.Close()
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			stop := context.AfterFunc(s.ctx, func() { _ = c.Close() })
			defer stop()
			if err := s.serve(c); err != nil {
				s.o.Log.Debug().Err(err).Msg("flow of causeway run ended")
			}
			_ = c.Close()
		})
	}
}

// serve answers one request, and relays the connection that is handed over.
func (s *Server) serve(c *net.UnixConn) error {
	uid, err := peerUID(c)
	if err != nil {
		return err
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("refused a request of user %d", uid)
	}
	_ = c.SetDeadline(time.Now().Add(requestTime))
	buf := make([]byte, maxMessage)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	r, err := parseRequest(buf[:n])
	if err != nil {
		return err
	}
	host := r.Target.Addr().String()
	if s.o.At != nil {
		if name, ok := s.o.At(r.Target.Addr().Unmap()); ok {
			host = name
		}
	}
	if !s.o.Covers(r.Network.String(), host, r.Target.Port()) {
		_, err := c.Write([]byte{notCovered})
		return err
	}
	if _, err := c.Write([]byte{covered}); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	req := tunnel.Request{
		Target: tunnel.Target{Network: r.Network, Host: host, Port: r.Target.Port()},
		Origin: owner.Process{UID: uid, User: owner.UserName(uid), PID: int(r.PID), Program: r.Program}.Origin("run"),
	}
	if r.Network == tunnel.UDP {
		return s.serveUDP(c, req)
	}
	return s.serveTCP(c, req)
}

// handed has the descriptor that arrives after the answer, or why none arrived.
type handed struct {
	file *os.File
	err  error
}

// await reads the descriptor in the background. If the asker ends the connection, it
// calls gone. The channel gets exactly one value.
func await(c *net.UnixConn, gone func()) <-chan handed {
	ch := make(chan handed, 1)
	go func() {
		f, err := readDescriptor(c)
		if err != nil {
			gone()
		}
		ch <- handed{f, err}
	}()
	return ch
}

func (s *Server) serveTCP(c *net.UnixConn, req tunnel.Request) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	arrival := await(c, cancel)
	st, err := s.o.Gateway.Dial(ctx, req)
	if err != nil {
		reason := err.Error()
		if e, ok := errors.AsType[*tunnel.Error](err); ok {
			reason = e.Reason
		}
		_, _ = c.Write(appendAnswer(nil, flow.Code(err), reason))
		_ = c.Close()
		if h := <-arrival; h.file != nil {
			_ = h.file.Close()
		}
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(handTime))
	if _, err := c.Write(appendAnswer(nil, tunnel.Connected, "")); err != nil {
		_ = c.Close()
	}
	h := <-arrival
	if h.err != nil {
		st.Reset("the program is gone")
		_ = st.Close()
		return fmt.Errorf("receive the program's connection: %w", h.err)
	}
	app, err := net.FileConn(h.file)
	_ = h.file.Close()
	if err != nil {
		st.Reset("the program is gone")
		_ = st.Close()
		return fmt.Errorf("use the program's connection: %w", err)
	}
	if _, ok := app.(*net.TCPConn); !ok {
		_ = app.Close()
		_ = st.Close()
		return fmt.Errorf("the program's connection is a %T", app)
	}
	s.o.Gateway.Relay(s.ctx, app, st, req.Target)
	return nil
}

func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("ask who connects: %w", failed)
	}
	return int(cred.Uid), nil
}

// readDescriptor reads one packet that carries one descriptor.
func readDescriptor(c *net.UnixConn) (*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(make([]byte, 16), oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, net.ErrClosed
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	if len(fds) == 1 && flags&unix.MSG_CTRUNC == 0 {
		return os.NewFile(uintptr(fds[0]), "handed over"), nil
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return nil, fmt.Errorf("%w: %d descriptors", errFrame, len(fds))
}
