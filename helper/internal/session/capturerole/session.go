package capturerole

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/capture"
	"github.com/causeway-dev/causeway/helper/internal/capture/dns"
	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/names"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/privileged"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// Session is a session with its capture.
type Session struct {
	in     *session.Session[*Session]
	order  *order
	log    zerolog.Logger
	params rpc.CaptureOpenParams

	mu     sync.Mutex
	status rpc.CaptureStatus
	port   int // where direct links come to; 0 before that is asked for
}

var _ session.Work = (*Session)(nil)

// Run implements session.Work.
func (s *Session) Run(ctx context.Context) error {
	return session.Serve(ctx, s.in.Carrier, s.log, tunnel.Client, func(ctx context.Context, t *tunnel.Session) error {
		path, leave := s.handover()
		defer leave()
		return capture.Serve(ctx, t, s.options(path))
	})
}

// options are what the session offers its programs.
func (s *Session) options(handoverPath string) capture.Options {
	return capture.Options{
		Log:     s.log,
		UID:     os.Geteuid(),
		Users:   s.params.Users,
		Sources: sourcesOf(s.params.Sources),
		StartHosts: func(ctx context.Context) (names.Hosts, error) {
			return privileged.Start(ctx, hostnet.Start)
		},
		StartResolver: func(ctx context.Context) (dns.Editor, error) {
			return privileged.Start(ctx, hostnet.StartResolver)
		},
		Changed:  s.changed,
		StartTun: privileged.StartTun,
		Bridges:  s.params.Bridges, StartBridge: privileged.StartBridge,
		HandoverPath: handoverPath,
		Join: func(m capture.Member) (capture.Place, func()) {
			return s.order.join(m, s.in.Carrier.Moving)
		},
	}
}

func sourcesOf(s rpc.Sources) capture.Sources {
	mode := func(v string) capture.Mode {
		switch v {
		case rpc.SourceOn:
			return capture.On
		case rpc.SourceOff:
			return capture.Off
		}
		return capture.Auto
	}
	return capture.Sources{Names: mode(s.Names), DNS: mode(s.DNS), Tun: mode(s.Tun), Proxy: mode(s.Proxy)}
}

// handover returns where causeway run finds the session, "" if it cannot. Leave
// is to be called when the session is over.
func (s *Session) handover() (path string, leave func()) {
	if runtime.GOOS != "linux" {
		return "", func() {}
	}
	dir, err := daemon.MakeDir()
	if err != nil {
		s.log.Warn().Err(err).Msg("causeway run will not find this session")
		return "", func() {}
	}
	// Remove fails while others use the directory.
	return handover.Path(dir, s.in.ID()), func() { _ = os.Remove(dir) }
}

func (s *Session) changed(c capture.Status) {
	s.mu.Lock()
	s.status.Proxy, s.status.NoProxy, s.status.Notes = c.Proxy, c.Names, c.Notes
	s.mu.Unlock()
	s.in.Changed()
}

// Ended implements session.Work.
func (s *Session) Ended(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = rpc.CaptureStatus{State: rpc.StateClosed, Reason: reason}
}

// Status implements session.Work.
func (s *Session) Status() (status any, live bool) { return s.state(), false }

func (s *Session) state() rpc.CaptureStatus {
	link := s.in.Carrier.Link()
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

// Describe implements session.Work.
func (s *Session) Describe() daemon.Session { return daemon.Session{State: s.state().State} }

func dismissal(reason string) any {
	return rpc.CaptureStatus{State: rpc.StateClosed, Reason: reason}
}

// errOtherSession ends what a window has left when it has another session.
var errOtherSession = errors.New("its window has another session")
