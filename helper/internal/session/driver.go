package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// farewellTime is how long a driver may take to read that its session is over
// for it.
const farewellTime = 5 * time.Second

// Driver is one conversation with a program that drives a session. It serves
// the methods that both roles have.
type Driver[W Work] struct {
	Log zerolog.Logger
	// SetLevel changes the level of what this driver sees of the log.
	SetLevel func(level string) error

	r    *Registry[W]
	conn atomic.Pointer[rpc.Conn]

	// Guarded by the registry's lock.
	session *Session[W] // the one that it drives; nil without
	gone    bool        // the conversation has ended
}

// NewDriver returns a driver without a session.
func (r *Registry[W]) NewDriver(log zerolog.Logger, setLevel func(string) error) *Driver[W] {
	return &Driver[W]{r: r, Log: log, SetLevel: setLevel}
}

// Run serves the driver's conversation until it ends or ctx does, which ends it.
// The driver has to be ready within that time; 0 means no limit.
func (d *Driver[W]) Run(ctx context.Context, conn *rpc.Conn, within time.Duration) error {
	d.conn.Store(conn)
	if within > 0 {
		select {
		case <-conn.Ready():
		case <-conn.Done():
		case <-ctx.Done():
		case <-time.After(within):
			d.Log.Warn().Stringer("within", within).Msg("the page did not show the pairing token in time: its connection is closed")
			_ = conn.Close()
		}
	}
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
	_ = conn.Close()
	d.Leave(conn.Exited())
	return conn.Err()
}

// Notify sends a notification.
func (d *Driver[W]) Notify(method string, params any) {
	if c := d.conn.Load(); c != nil {
		_ = c.Notify(method, params)
	}
}

// SetLogLevel implements rpc.Base.
func (d *Driver[W]) SetLogLevel(level string) error { return d.SetLevel(level) }

// AttachLink implements rpc.Base: it takes l into use for the session.
func (d *Driver[W]) AttachLink(l *rpc.Link) {
	s, err := d.Session()
	if err == nil {
		err = s.Carrier.Attach(s.ctx, link.Pipe(l))
	}
	if err != nil {
		_ = l.Close()
		d.Log.Warn().Err(err).Msg("link not taken")
		d.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: err.Error()})
		return
	}
	d.Log.Info().Str("link", l.Kind()).Msg("link taken")
}

// CloseSession implements rpc.Base: it ends the session and waits until it is
// cleaned up.
func (d *Driver[W]) CloseSession(context.Context) error {
	d.r.mu.Lock()
	s := d.session
	d.session = nil
	d.r.mu.Unlock()
	if s != nil {
		s.End(ErrDisconnected)
	}
	return nil
}

// Session returns the session that the driver has open.
func (d *Driver[W]) Session() (*Session[W], error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	if d.session == nil {
		return nil, &rpc.Error{Code: rpc.CodeNoSession, Message: "no session is open"}
	}
	return d.session, nil
}

// Candidate is a session that a driver may take over. It is looked at with the
// registry locked.
type Candidate[W Work] struct {
	*Session[W]
	Driven bool // another driver has it
}

// candidates lists the sessions that go on, the oldest first.
func (r *Registry[W]) candidates() (list []Candidate[W]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.candidatesLocked()
}

func (r *Registry[W]) candidatesLocked() (list []Candidate[W]) {
	for _, s := range r.list {
		if !s.ending {
			list = append(list, Candidate[W]{s, s.driver != nil})
		}
	}
	return list
}

// Open makes d the driver of a session: of the one that choose picks, or of a
// new one, which begin makes. Both are called with the registry locked, so they
// must not block. Choose returns nil for a new session. A driver has at most one
// session; all of Open is one step, so two calls at once cannot both succeed.
func (d *Driver[W]) Open(choose func([]Candidate[W]) (*Session[W], error), begin func() (Spec, func(*Session[W]) W, error)) (s *Session[W], resumed bool, err error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	switch {
	case d.gone:
		return nil, false, errors.New("the conversation has ended")
	case d.session != nil:
		return nil, false, &rpc.Error{Code: rpc.CodeBusy, Message: "a session is open already"}
	}
	if s, err = choose(d.r.candidatesLocked()); err != nil {
		return nil, false, err
	}
	resumed = s != nil
	if !resumed {
		if len(d.r.list) >= maxSessions {
			return nil, false, &rpc.Error{Code: rpc.CodeBusy, Message: "too many sessions"}
		}
		spec, work, err := begin()
		if err != nil {
			return nil, false, err
		}
		s = d.r.start(spec, work)
	}
	before := s.driver
	s.driver, d.session = d, s
	s.abandoned.Stop()
	if before != nil {
		before.session = nil
		d.r.farewells.Go(before.dismiss)
	}
	s.Changed()
	return s, resumed, nil
}

// dismiss tells the driver that its session has another one now. The driver may
// be frozen, and its conversation stuck: dismiss closes it after the farewell time.
func (d *Driver[W]) dismiss() {
	c := d.conn.Load()
	if c == nil {
		return
	}
	hangUp := time.AfterFunc(d.r.farewell, func() { _ = c.Close() })
	defer hangUp.Stop()
	_ = c.Notify(rpc.NotifyStatus, d.r.dismissal(reasonTakenOver))
	_ = c.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reasonTakenOver})
}

// Leave ends the driver's part in its session, and the driver opens no other one. If
// the driver has said that the session is over, exited, Leave ends the session. Else
// the session waits for another driver. Run calls Leave.
func (d *Driver[W]) Leave(exited bool) {
	d.r.mu.Lock()
	s := d.session
	d.session, d.gone = nil, true
	if s != nil && !exited && s.driver == d {
		s.driver = nil
		s.abandoned.Reset(s.resume)
	}
	d.r.mu.Unlock()
	if s != nil && exited {
		s.End(ErrDisconnected)
	}
}
