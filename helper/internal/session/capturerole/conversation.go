// Package capturerole connects the capture to the programs that drive it: it
// serves the capture's methods of the protocol, and gives the capture what it
// needs of this machine. What may be reached is the gateway's to say.
package capturerole

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/rs/zerolog"
)

// Role serves the capture's role to drivers.
type Role struct {
	*session.Registry[*Session]
	log     zerolog.Logger
	helper  rpc.HelperInfo
	refused atomic.Uint64 // drivers with a wrong secret
	order   order
}

// New returns the role without sessions. Helper is what drivers are told of
// this process.
func New(log zerolog.Logger, helper rpc.HelperInfo) *Role {
	helper.Role = "capture"
	return &Role{Registry: session.NewRegistry[*Session](log, dismissal), log: log, helper: helper}
}

// CleanUp removes what an earlier run has left on this machine.
func (r *Role) CleanUp() {
	if err := errors.Join(hostnet.Cleanup(hostnet.DefaultPath), hostnet.CleanupResolv(hostnet.DefaultResolvPath, "/run")); err != nil {
		r.log.Debug().Err(err).Msg("cannot look for the remains of an earlier run")
	}
}

// conversation serves the capture's methods to one driver.
type conversation struct {
	*session.Driver[*Session]
	role *Role
}

var _ rpc.CaptureHandler = (*conversation)(nil)

// Serve serves one driver until its conversation ends, or ctx. SetLevel changes
// the level of what the driver sees of the log.
func (r *Role) Serve(ctx context.Context, p rpc.Pipe, setLevel func(string) error) error {
	h := &conversation{Driver: r.NewDriver(r.log, setLevel), role: r}
	return h.Run(ctx, rpc.ServeCapture(p, rpc.Identity{Helper: r.helper}, h), 0)
}

// OpenSession implements rpc.CaptureHandler.
func (h *conversation) OpenSession(_ context.Context, p rpc.CaptureOpenParams) error {
	keys, err := session.ParseKeys(p.Session, p.Secret)
	if err != nil {
		return err
	}
	if err := p.Sources.Check(); err != nil {
		return err
	}
	if err := errors.Join(CheckBridges(p.Bridges), owner.CheckUsers(p.Users)); err != nil {
		return err
	}
	if p.Window != "" {
		h.role.EndOthers(errOtherSession, func(s session.Candidate[*Session]) bool {
			return s.Work.params.Window == p.Window && !s.Driven && s.Keys().ID != keys.ID
		})
	}
	_, _, err = h.Open(func(list []session.Candidate[*Session]) (*session.Session[*Session], error) {
		return h.choose(list, keys, p.Resumed)
	}, func() (session.Spec, func(*session.Session[*Session]) *Session, error) {
		return session.Spec{Role: carrier.Capture, Keys: keys, Resume: session.ResumeLimit(p.ResumeSeconds)},
			func(in *session.Session[*Session]) *Session {
				return &Session{in: in, order: &h.role.order, log: h.role.log, params: p, status: rpc.CaptureStatus{State: rpc.StateWaiting}}
			}, nil
	})
	return err
}

// choose picks the session of these keys, whoever drives it.
func (h *conversation) choose(list []session.Candidate[*Session], keys session.Keys, resumed bool) (*session.Session[*Session], error) {
	i := slices.IndexFunc(list, func(s session.Candidate[*Session]) bool { return s.Keys().ID == keys.ID })
	switch {
	case i < 0 && resumed:
		return nil, &rpc.Error{Code: rpc.CodeNoSession, Message: "the remote's helper does not have this session any more"}
	case i < 0:
		return nil, nil
	case !list[i].Keys().SecretIs(keys.Secret):
		h.role.log.Warn().Uint64("refused", h.role.refused.Add(1)).Msg("a driver with a wrong secret was refused")
		return nil, errors.New("the secret is not this session's")
	}
	return list[i].Session, nil
}

// ListenLinks implements rpc.CaptureHandler: it opens the port for direct links,
// once in a session.
func (h *conversation) ListenLinks(context.Context) (rpc.DirectLink, error) {
	in, err := h.Session()
	if err != nil {
		return rpc.DirectLink{}, err
	}
	s := in.Work
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == 0 {
		port, err := link.Listen(in.Context(), in.Carrier, link.PreferredPort(s.params.Window), h.Log)
		if err != nil {
			return rpc.DirectLink{}, err
		}
		s.port = port
	}
	return rpc.DirectLink{Port: s.port}, nil
}

// Status implements rpc.CaptureHandler.
func (h *conversation) Status(context.Context) (rpc.CaptureStatus, error) {
	s, err := h.Session()
	if err != nil {
		return rpc.CaptureStatus{State: rpc.StateClosed}, nil
	}
	return s.Work.state(), nil
}

// CheckBridges refuses what cannot be the name of a bridge.
func CheckBridges(list []string) error {
	if len(list) > rpc.MaxBridges {
		return fmt.Errorf("%d bridges: at most %d are served", len(list), rpc.MaxBridges)
	}
	for i, name := range list {
		if err := hostnet.CheckBridge(name); err != nil {
			return err
		}
		if slices.Contains(list[:i], name) {
			return fmt.Errorf("the bridge %s is named twice", name)
		}
	}
	return nil
}
