package cli

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// captureSessions are the sessions of this process. They outlive the shims that
// drive them.
type captureSessions struct {
	log zerolog.Logger

	mu      sync.Mutex
	list    []*captureSession
	refused int
}

type captureSession struct {
	all       *captureSessions
	id        carrier.SessionID
	secret    carrier.Secret
	params    rpc.CaptureOpenParams
	since     time.Time
	resume    time.Duration
	carrier   *carrier.Conn
	stop      context.CancelCauseFunc
	ctx       context.Context // alive until the session is to end
	running   sync.WaitGroup
	abandoned *time.Timer

	mu     sync.Mutex
	shim   *captureHelper // nil while none is there
	status rpc.CaptureStatus
	port   int // where direct links come to; 0 before that is asked for
}

// newCaptureSessions cleans up what an earlier run may have left.
func newCaptureSessions(log zerolog.Logger) *captureSessions {
	if err := errors.Join(hostnet.Cleanup(hostnet.DefaultPath), hostnet.CleanupResolv(hostnet.DefaultResolvPath, "/run")); err != nil {
		log.Debug().Err(err).Msg("remains of an earlier run not looked for")
	}
	return &captureSessions{log: log}
}

// serve serves one shim until its conversation ends, or ctx.
func (all *captureSessions) serve(ctx context.Context, p rpc.Pipe) error {
	h := &captureHelper{log: all.log, sessions: all}
	id := identity()
	id.Helper.Role = "capture"
	conn := rpc.ServeCapture(p, id, h)
	h.conn.Store(conn)
	err := untilDone(ctx, conn)
	h.leave(conn.Exited())
	return err
}

// captureHelper serves the capture's methods to one shim.
type captureHelper struct {
	log      zerolog.Logger
	sessions *captureSessions
	conn     atomic.Pointer[rpc.Conn]

	mu      sync.Mutex
	session *captureSession // the one it drives
}

func (h *captureHelper) SetLogLevel(level string) error { return setLevel(level) }

func (h *captureHelper) notify(method string, params any) {
	if c := h.conn.Load(); c != nil {
		_ = c.Notify(method, params)
	}
}

func (h *captureHelper) OpenSession(_ context.Context, p rpc.CaptureOpenParams) error {
	id, secret, err := parseSession(p.Session, p.Secret)
	if err != nil {
		return err
	}
	if err := p.Sources.Check(); err != nil {
		return err
	}
	if err := checkBridges(p.Bridges); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		return &rpc.Error{Code: rpc.CodeBusy, Message: "a session is open already"}
	}
	h.sessions.endLeft(p.Window, id)
	s, err := h.sessions.open(h, p, id, secret)
	if err != nil {
		return err
	}
	h.session = s
	return nil
}

// AttachLink takes l into use for the session.
func (h *captureHelper) AttachLink(l *rpc.Link) {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	err := error(&rpc.Error{Code: rpc.CodeNoSession, Message: "no session is open"})
	if s != nil {
		err = s.carrier.Attach(s.ctx, pipeLink{l})
	}
	if err != nil {
		_ = l.Close()
		h.log.Warn().Err(err).Msg("link not taken")
		h.notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: err.Error()})
		return
	}
	h.log.Info().Str("link", l.Kind()).Msg("link taken")
}

// ListenLinks opens the port for direct links, once for a session.
func (h *captureHelper) ListenLinks(context.Context) (rpc.DirectLink, error) {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	if s == nil {
		return rpc.DirectLink{}, &rpc.Error{Code: rpc.CodeNoSession, Message: "no session is open"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == 0 {
		port, err := listenDirect(s.ctx, s.carrier, directPort(s.params.Window), h.log)
		if err != nil {
			return rpc.DirectLink{}, err
		}
		s.port = port
	}
	return rpc.DirectLink{Port: s.port}, nil
}

// CloseSession ends the session and waits until it is cleaned up.
func (h *captureHelper) CloseSession(context.Context) error {
	h.leave(true)
	return nil
}

func (h *captureHelper) Status(context.Context) (rpc.CaptureStatus, error) {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	if s == nil {
		return rpc.CaptureStatus{State: rpc.StateClosed}, nil
	}
	return s.state(), nil
}

// leave ends what this shim has to do with its session, which waits for another
// one unless the shim has said that it is over.
func (h *captureHelper) leave(exited bool) {
	h.mu.Lock()
	s := h.session
	h.session = nil
	h.mu.Unlock()
	switch {
	case s == nil:
	case exited:
		s.end(errors.New("the session was closed"))
	default:
		s.leftBy(h)
	}
}

// endLeft ends what another session than id has left waiting for its shim in window.
func (all *captureSessions) endLeft(window string, id carrier.SessionID) {
	all.mu.Lock()
	var left []*captureSession
	for _, s := range all.list {
		s.mu.Lock()
		if window != "" && s.params.Window == window && s.shim == nil && s.id != id {
			left = append(left, s)
		}
		s.mu.Unlock()
	}
	all.mu.Unlock()
	for _, s := range left {
		s.end(errors.New("its window has another session"))
	}
}

// open gives h the session that it asks for.
func (all *captureSessions) open(h *captureHelper, p rpc.CaptureOpenParams, id carrier.SessionID, secret carrier.Secret) (*captureSession, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.list {
		if s.id != id {
			continue
		}
		if subtle.ConstantTimeCompare(s.secret[:], secret[:]) != 1 {
			all.refused++
			all.log.Warn().Int("refused", all.refused).Msg("a shim with a wrong secret was refused")
			return nil, errors.New("the secret is not this session's")
		}
		s.drivenBy(h)
		return s, nil
	}
	switch {
	case p.Resumed:
		return nil, &rpc.Error{Code: rpc.CodeNoSession, Message: "the remote's helper does not have this session any more"}
	case len(all.list) >= maxSessions:
		return nil, &rpc.Error{Code: rpc.CodeBusy, Message: "too many sessions"}
	}
	s := &captureSession{all: all, id: id, secret: secret, params: p, since: time.Now(), resume: resumeLimit(p.ResumeSeconds),
		shim: h, status: rpc.CaptureStatus{State: rpc.StateWaiting}}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.carrier = carrier.New(carrier.Options{Role: carrier.Capture, Session: id, Secret: secret, Log: all.log,
		ResumeLimit: s.resume, Changed: func() { s.set(func(*rpc.CaptureStatus) {}) }})
	s.abandoned = time.AfterFunc(time.Hour, func() { s.end(errors.New("its window did not come back")) })
	s.abandoned.Stop()
	all.list = append(all.list, s)
	s.running.Go(func() { s.ended(s.run()) })
	return s, nil
}

// drivenBy makes h the shim of s, in place of the one it had.
func (s *captureSession) drivenBy(h *captureHelper) {
	s.mu.Lock()
	before := s.shim
	s.shim = h
	s.abandoned.Stop()
	s.mu.Unlock()
	if before == nil || before == h {
		return
	}
	before.mu.Lock()
	if before.session == s {
		before.session = nil
	}
	before.mu.Unlock()
	go dismiss(before.conn.Load(), rpc.CaptureStatus{State: rpc.StateClosed, Reason: reasonTakenOver})
}

// leftBy notes that the shim h is gone.
func (s *captureSession) leftBy(h *captureHelper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shim == h {
		s.shim = nil
		s.abandoned.Reset(s.resume)
	}
}

// run serves the session over whatever links it gets until it ends.
func (s *captureSession) run() error {
	defer func() { _ = s.carrier.Close() }()
	stop := context.AfterFunc(s.ctx, func() { _ = s.carrier.CloseWithReason(context.Cause(s.ctx).Error()) })
	defer stop()
	session, err := tunnel.Client(s.carrier, tunnel.Options{Log: s.all.log, Carrier: s.carrier})
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	options := s.options()
	path, leave := s.handover()
	defer leave()
	options.HandoverPath = path
	err = capture.Serve(s.ctx, session, options)
	if cause := s.carrier.Err(); cause != nil && s.ctx.Err() == nil {
		err = cause
	}
	return err
}

// state is the session's status as it is now.
func (s *captureSession) state() rpc.CaptureStatus {
	link := s.carrier.Link()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	switch {
	case st.State == rpc.StateClosed:
	case link.Kind != "":
		st.State = rpc.StateConnected
	case link.Reason != nil:
		st.State, st.Reason = rpc.StateReconnecting, link.Reason.Error()
	}
	return st
}

// set changes the status and tells the shim.
func (s *captureSession) set(f func(*rpc.CaptureStatus)) {
	s.mu.Lock()
	f(&s.status)
	h := s.shim
	s.mu.Unlock()
	if h != nil {
		h.notify(rpc.NotifyStatus, s.state())
	}
}

// ended notes that the session is over, and tells the shim once everything is
// cleaned up.
func (s *captureSession) ended(err error) {
	reason := "closed"
	if err != nil {
		reason = err.Error()
	}
	s.all.log.Info().Str("reason", reason).Msg("disconnected")
	s.all.mu.Lock()
	for i, other := range s.all.list {
		if other == s {
			s.all.list = append(s.all.list[:i:i], s.all.list[i+1:]...)
			break
		}
	}
	s.all.mu.Unlock()
	s.abandoned.Stop()
	s.stop(errors.New(reason))
	s.mu.Lock()
	h := s.shim
	s.mu.Unlock()
	s.set(func(st *rpc.CaptureStatus) { *st = rpc.CaptureStatus{State: rpc.StateClosed, Reason: reason} })
	if h == nil {
		return
	}
	h.mu.Lock()
	if h.session == s {
		h.session = nil
	}
	h.mu.Unlock()
	h.notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reason})
}

// end ends the session in order and returns when it is cleaned up.
func (s *captureSession) end(reason error) {
	s.stop(reason)
	waitAtMost(cleanUpTime, s.running.Wait)
}

// sessions lists the sessions, the oldest first.
func (all *captureSessions) sessions() []daemon.Session {
	all.mu.Lock()
	list := slices.Clone(all.list)
	all.mu.Unlock()
	told := make([]daemon.Session, len(list))
	for i, s := range list {
		st := s.state()
		s.mu.Lock()
		driven := s.shim != nil
		s.mu.Unlock()
		told[i] = daemon.Session{ID: hex.EncodeToString(s.id[:]), State: st.State, Link: s.carrier.Link().Kind,
			Since: s.since, Driven: driven}
		told[i].Status, _ = json.Marshal(st)
	}
	return told
}

func (all *captureSessions) endSession(id string) error {
	all.mu.Lock()
	i := slices.IndexFunc(all.list, func(s *captureSession) bool { return hex.EncodeToString(s.id[:]) == id })
	if i < 0 {
		all.mu.Unlock()
		return errNoSuchSession
	}
	s := all.list[i]
	all.mu.Unlock()
	s.end(errEndedByCommand)
	return nil
}

// endAll ends every session.
func (all *captureSessions) endAll(reason error) {
	all.mu.Lock()
	list := slices.Clone(all.list)
	all.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range list {
		wg.Go(func() { s.end(reason) })
	}
	wg.Wait()
}
