package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/names"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// cleanUpTime is how long the end of a session may take to clean up.
const cleanUpTime = 4 * time.Second

func captureCommand(e *env) *cobra.Command {
	var stdio bool
	cmd := &cobra.Command{
		Use:   "capture --stdio",
		Short: "Run the remote's role, driven over stdio by an extension or by connect",
		Long: `Capture turns the connections of ordinary programs on this machine into flows.
It is started by the editor's extension, or by "causeway connect" over ssh or
docker exec, which drives it over stdin and stdout. It ends, and cleans up, when
its stdin ends.`,
		Example: "  causeway connect --resources resources.json -- ssh host causeway capture --stdio",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !stdio {
				return usageError(errors.New("capture is driven over stdio: give --stdio"))
			}
			return runCapture(cmd.Context(), e)
		},
	}
	cmd.Flags().BoolVar(&stdio, "stdio", false, "speak the protocol on stdin and stdout")
	return cmd
}

func runCapture(ctx context.Context, e *env) error {
	log := e.logs.logger("capture")
	if err := hostnet.Cleanup(hostnet.DefaultPath); err != nil {
		log.Debug().Err(err).Msg("remains of an earlier run not looked for")
	}
	h := &captureHelper{log: log}
	return serveStdio(ctx, e, log, func(p rpc.Pipe, id rpc.Identity) *rpc.Conn {
		id.Helper.Role = "capture"
		h.conn = rpc.ServeCapture(p, id, h)
		return h.conn
	}, h.close)
}

// serveStdio serves a role on stdin and stdout until either ends, or ctx.
func serveStdio(ctx context.Context, e *env, log zerolog.Logger, start func(rpc.Pipe, rpc.Identity) *rpc.Conn, end func()) error {
	in, ok1 := e.stdin.(*os.File)
	out, ok2 := e.stdout.(*os.File)
	if !ok1 || !ok2 {
		return errors.New("stdin and stdout are no files")
	}
	conn := start(rpc.NewStdio(in, out), identity())
	log.Debug().Str("version", version).Msg("ready")
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
	_ = conn.Close()
	end()
	if err := conn.Err(); err != nil {
		return fmt.Errorf("protocol on stdio: %w", err)
	}
	return nil
}

// captureHelper serves the capture's methods.
type captureHelper struct {
	log  zerolog.Logger
	conn *rpc.Conn

	mu      sync.Mutex
	session *captureSession // the open one
}

type captureSession struct {
	params  rpc.CaptureOpenParams
	carrier *carrier.Conn
	status  rpc.CaptureStatus
	stop    context.CancelCauseFunc
	ctx     context.Context // alive until the session is to end
	running sync.WaitGroup
}

func (h *captureHelper) SetLogLevel(level string) error { return setLevel(level) }

func (h *captureHelper) OpenSession(_ context.Context, p rpc.CaptureOpenParams) error {
	id, secret, err := parseSession(p.Session, p.Secret)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		return &rpc.Error{Code: rpc.CodeBusy, Message: "a session is open already"}
	}
	s := &captureSession{params: p, status: rpc.CaptureStatus{State: rpc.StateWaiting}}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.carrier = carrier.New(carrier.Options{Role: carrier.Capture, Session: id, Secret: secret, Log: h.log})
	h.session = s
	return nil
}

// AttachLink carries the session over l until it ends.
func (h *captureHelper) AttachLink(l *rpc.Link) {
	h.mu.Lock()
	s := h.session
	if s != nil {
		s.running.Add(1)
	}
	h.mu.Unlock()
	if s == nil {
		_ = l.Close()
		_ = h.conn.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: "no session is open"})
		return
	}
	go func() {
		err := h.run(s, l)
		s.running.Done()
		h.closed(s, err)
	}()
}

func (h *captureHelper) run(s *captureSession, l *rpc.Link) error {
	if err := s.carrier.Attach(s.ctx, l); err != nil {
		return err
	}
	stop := context.AfterFunc(s.ctx, func() { _ = s.carrier.CloseWithReason(context.Cause(s.ctx).Error()) })
	defer stop()
	tun, err := tunnel.Client(s.carrier, tunnel.Options{Log: h.log})
	if err != nil {
		return err
	}
	defer func() { _ = tun.Close() }()
	h.log.Info().Str("link", l.Kind()).Msg("connected")
	h.setStatus(s, func(st *rpc.CaptureStatus) { st.State = rpc.StateConnected })
	err = capture.Serve(s.ctx, tun, capture.Options{
		Log:   h.log,
		UID:   os.Geteuid(),
		Names: s.params.Names == nil || *s.params.Names,
		Proxy: s.params.Proxy == nil || *s.params.Proxy,
		StartHosts: func(ctx context.Context) (names.Hosts, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return hostnet.Start(ctx, hostnet.StartOptions{Self: self})
		},
		Changed: func(c capture.Status) {
			h.setStatus(s, func(st *rpc.CaptureStatus) { st.Proxy, st.NoProxy, st.Notes = c.Proxy, c.Names, c.Notes })
		},
	})
	if cause := s.carrier.Err(); cause != nil && s.ctx.Err() == nil {
		err = cause
	}
	return err
}

func (h *captureHelper) setStatus(s *captureSession, f func(*rpc.CaptureStatus)) {
	h.mu.Lock()
	f(&s.status)
	status := s.status
	h.mu.Unlock()
	_ = h.conn.Notify(rpc.NotifyStatus, status)
}

// closed tells the shim that s has ended, once everything is cleaned up.
func (h *captureHelper) closed(s *captureSession, err error) {
	reason := "closed"
	if err != nil {
		reason = err.Error()
	}
	h.log.Info().Str("reason", reason).Msg("disconnected")
	h.mu.Lock()
	if h.session == s {
		h.session = nil
	}
	h.mu.Unlock()
	h.setStatus(s, func(st *rpc.CaptureStatus) {
		*st = rpc.CaptureStatus{State: rpc.StateClosed, Reason: reason}
	})
	_ = h.conn.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reason})
}

// CloseSession ends the session and waits until it is cleaned up.
func (h *captureHelper) CloseSession(context.Context) error {
	h.endSession("the session was closed")
	return nil
}

func (h *captureHelper) Status(context.Context) (rpc.CaptureStatus, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		return rpc.CaptureStatus{State: rpc.StateClosed}, nil
	}
	return h.session.status, nil
}

func (h *captureHelper) close() { h.endSession("the remote's helper is ending") }

func (h *captureHelper) endSession(reason string) {
	h.mu.Lock()
	s := h.session
	h.session = nil
	h.mu.Unlock()
	if s == nil {
		return
	}
	s.stop(errors.New(reason))
	waitAtMost(cleanUpTime, s.running.Wait)
	_ = s.carrier.CloseWithReason(reason)
}

// waitAtMost waits for f to return, but not for ever: the process ends anyway.
func waitAtMost(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// parseSession reads the hex of a session's identifier and secret.
func parseSession(session, secret string) (id carrier.SessionID, s carrier.Secret, err error) {
	if n, err := hex.Decode(id[:], []byte(session[:min(len(session), 2*len(id))])); err != nil || n != len(id) || len(session) != 2*len(id) {
		return id, s, fmt.Errorf("session is not %d bytes of hex", len(id))
	}
	if n, err := hex.Decode(s[:], []byte(secret[:min(len(secret), 2*len(s))])); err != nil || n != len(s) || len(secret) != 2*len(s) {
		return id, s, fmt.Errorf("secret is not %d bytes of hex", len(s))
	}
	return id, s, nil
}
