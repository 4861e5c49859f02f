// Package session keeps the sessions of a helper while the programs that drive
// them come and go: an editor's windows, and connect. A session waits for its
// driver and for its link up to its resume limit; a new driver takes it over
// from one that is gone or silent. The package is the same for both roles and
// knows nothing of what a session does: see Work.
package session

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

const (
	// CleanUpTime is how long the end of a session may take to clean up.
	CleanUpTime = 4 * time.Second

	maxSessions  = 32                     // of a helper: one for each window
	statusPeriod = 250 * time.Millisecond // the least time between two notifications of the status
	livePeriod   = time.Second            // between two of a status that changes without a word
)

var (
	// ErrUnknown means that there is no session of an identifier.
	ErrUnknown = errors.New("there is no such session")
	// ErrDisconnected ends a session whose user disconnected it.
	ErrDisconnected = errors.New("the user disconnected")
	// ErrEnding ends the sessions of a helper that ends.
	ErrEnding = errors.New("the helper is ending")

	errByCommand = errors.New(`ended by "causeway sessions end"`)
	errAbandoned = errors.New("its window did not come back")
)

const (
	reasonTakenOver = "another window took the session over"
	reasonClosed    = "closed"
)

// Work is what a role does in a session. Its methods may be called at the same
// time, but Run and Ended are called once and in this order.
type Work interface {
	// Run serves the session until it ends by itself or ctx does. It returns why,
	// after it has cleaned up.
	Run(ctx context.Context) error
	// Ended says that the session is over: Status returns that from here on.
	Ended(reason string)
	// Status returns the role's status in the protocol. Live says that it changes
	// all the time without a call of Changed, such as by a count of bytes.
	Status() (status any, live bool)
	// Describe returns the role's part of a line in a list of sessions: State,
	// Authority and Workspace. It is called with the registry locked, so it must
	// not call the registry or its sessions.
	Describe() daemon.Session
}

// Registry is the sessions of a helper of one role.
type Registry[W Work] struct {
	log zerolog.Logger
	// dismissal is the status that a driver gets when its session is over for it.
	dismissal func(reason string) any
	farewell  time.Duration // how long a driver may take to read that
	farewells sync.WaitGroup

	mu   sync.Mutex // guards the list, and who drives what
	list []*Session[W]
}

// NewRegistry returns a registry without sessions. Dismissal returns the role's
// status of a session that is closed for that reason.
func NewRegistry[W Work](log zerolog.Logger, dismissal func(reason string) any) *Registry[W] {
	return &Registry[W]{log: log, dismissal: dismissal, farewell: farewellTime}
}

// Session is a session of a registry.
type Session[W Work] struct {
	Work    W
	Carrier *carrier.Conn
	Since   time.Time

	r       *Registry[W]
	keys    Keys
	resume  time.Duration
	ctx     context.Context // alive until the session is to end
	stop    context.CancelCauseFunc
	running sync.WaitGroup
	told    chan struct{} // closed when tell has returned
	changed chan struct{}

	// Guarded by the registry's lock.
	driver    *Driver[W]  // nil while none is there
	abandoned *time.Timer // runs while none is there
	ending    bool
}

// Spec describes a new session.
type Spec struct {
	Role   carrier.Role
	Keys   Keys
	Resume time.Duration // how long the session waits for a link, and for a driver
}

// start begins the session that spec describes, with the work that begin makes.
// The registry is locked.
func (r *Registry[W]) start(spec Spec, begin func(*Session[W]) W) *Session[W] {
	s := &Session[W]{r: r, keys: spec.Keys, resume: spec.Resume, Since: time.Now(), told: make(chan struct{}), changed: make(chan struct{}, 1)}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.Carrier = carrier.New(carrier.Options{Role: spec.Role, Session: s.keys.ID, Secret: s.keys.Secret, Log: r.log, ResumeLimit: s.resume, Changed: s.Changed})
	s.abandoned = time.AfterFunc(time.Hour, s.abandon)
	s.abandoned.Stop()
	s.Work = begin(s)
	r.list = append(r.list, s)
	s.running.Go(s.tell)
	s.running.Go(func() { s.ended(s.Work.Run(s.ctx)) })
	return s
}

// ID is the session's public identifier, in hex.
func (s *Session[W]) ID() string { return hex.EncodeToString(s.keys.ID[:]) }

// Keys returns the session's identifier and secret.
func (s *Session[W]) Keys() Keys { return s.keys }

// Done is closed when the session is to end.
func (s *Session[W]) Done() <-chan struct{} { return s.ctx.Done() }

// Context is alive until the session is to end.
func (s *Session[W]) Context() context.Context { return s.ctx }

// Go runs f as a part of the session: End waits for it. F must return when
// Context ends. It must be called by a part of the session, or by its driver.
func (s *Session[W]) Go(f func()) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.ending {
		s.running.Go(f)
	}
}

// Driven reports whether a driver is there.
func (s *Session[W]) Driven() bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.driver != nil
}

// Changed says that the session's status has changed. It does not block.
func (s *Session[W]) Changed() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Notify sends a notification to the session's driver, if one is there.
func (s *Session[W]) Notify(method string, params any) {
	s.r.mu.Lock()
	d := s.driver
	s.r.mu.Unlock()
	if d != nil {
		d.Notify(method, params)
	}
}

// tell notifies the driver of changes of the status, at most once per statusPeriod.
func (s *Session[W]) tell() {
	defer close(s.told)
	var live <-chan time.Time
	for {
		select {
		case <-s.changed:
		case <-live:
		case <-s.ctx.Done():
			return
		}
		live = nil
		status, changes := s.Work.Status()
		if changes {
			live = time.After(livePeriod)
		}
		s.Notify(rpc.NotifyStatus, status)
		select {
		case <-time.After(statusPeriod):
		case <-s.ctx.Done():
			return
		}
	}
}

// abandon ends a session whose driver has not come back in time.
func (s *Session[W]) abandon() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.driver == nil { // none came just now
		s.endLocked(errAbandoned)
	}
}

func (s *Session[W]) endLocked(reason error) {
	s.ending = true
	s.stop(reason)
}

// ended takes the session out of the registry, and tells its driver.
func (s *Session[W]) ended(err error) {
	reason := reasonClosed
	if err != nil {
		reason = err.Error()
	}
	s.r.log.Info().Str("session", s.ID()[:12]).Str("reason", reason).Msg("disconnected")
	s.r.mu.Lock()
	s.r.list = slices.DeleteFunc(s.r.list, func(other *Session[W]) bool { return other == s })
	s.endLocked(errors.New(reason))
	s.abandoned.Stop()
	d := s.driver
	s.driver = nil
	if d != nil && d.session == s {
		d.session = nil
	}
	s.r.mu.Unlock()
	s.Work.Ended(reason)
	if d == nil {
		return
	}
	<-s.told // an older status must not come after this one
	status, _ := s.Work.Status()
	d.Notify(rpc.NotifyStatus, status)
	d.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reason})
}

// End ends the session in order. It returns when the session is cleaned up, or
// after CleanUpTime.
func (s *Session[W]) End(reason error) {
	s.r.mu.Lock()
	s.endLocked(reason)
	s.r.mu.Unlock()
	WaitAtMost(CleanUpTime, s.running.Wait)
}

// WaitAtMost waits for f to return, but at most that long: the process may end
// while f still waits for something that never comes.
func WaitAtMost(limit time.Duration, f func()) {
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

// Sessions lists the sessions, the oldest first.
func (r *Registry[W]) Sessions() []daemon.Session {
	r.mu.Lock()
	list := slices.Clone(r.list)
	told := make([]daemon.Session, len(list))
	for i, s := range list {
		told[i] = s.Work.Describe()
		told[i].ID, told[i].Since, told[i].Driven, told[i].Link = s.ID(), s.Since, s.driver != nil, s.Carrier.Link().Kind
	}
	r.mu.Unlock()
	for i, s := range list {
		status, _ := s.Work.Status()
		told[i].Status, _ = json.Marshal(status)
	}
	return told
}

// End ends the session of that identifier, and returns as Session.End does.
func (r *Registry[W]) End(id string) error {
	r.mu.Lock()
	i := slices.IndexFunc(r.list, func(s *Session[W]) bool { return s.ID() == id })
	if i < 0 {
		r.mu.Unlock()
		return ErrUnknown
	}
	s := r.list[i]
	r.mu.Unlock()
	s.End(errByCommand)
	return nil
}

// EndAll ends every session, and returns when they are cleaned up or after
// CleanUpTime.
func (r *Registry[W]) EndAll(reason error) {
	r.endAll(reason, func(Candidate[W]) bool { return true })
}

// EndOthers ends the sessions that others returns true for, as EndAll does.
// Others is called with the registry locked.
func (r *Registry[W]) EndOthers(reason error, others func(Candidate[W]) bool) {
	r.endAll(reason, others)
}

func (r *Registry[W]) endAll(reason error, which func(Candidate[W]) bool) {
	var wg sync.WaitGroup
	for _, c := range r.candidates() {
		if which(c) {
			wg.Go(func() { c.End(reason) })
		}
	}
	wg.Wait()
}
