package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// maxSessions bounds the sessions of a helper: one a window.
const maxSessions = 32

// gatewaySessions are the sessions of this process. They outlive the shims that
// drive them, which come and go with windows and extension hosts.
type gatewaySessions struct {
	log zerolog.Logger

	mu   sync.Mutex
	list []*gatewaySession
}

// gatewaySession is a session with its gateway.
type gatewaySession struct {
	*session
	all       *gatewaySessions
	key       string // who may resume it: the page's origin, the remote and the workspace; "" if nobody
	authority string
	workspace string
	since     time.Time
	gw        *gateway.Gateway
	approvals *consent.Approvals
	direct    *directLinks
	changed   chan struct{}
	stop      context.CancelCauseFunc
	ctx       context.Context // alive until the session is to end
	running   sync.WaitGroup
	asking    sync.Mutex // held while the terminal is asked
	setting   sync.Mutex // held while resources and exits are replaced
	exits     exitSet
	abandoned *time.Timer

	mu       sync.Mutex
	shim     *gatewayHelper // nil while none is there
	review   consent.Review
	problems []resource.Problem // of parsing
	state    string
	reason   string
}

// open gives h the session that it asks for: the one that is there, or another.
func (all *gatewaySessions) open(h *gatewayHelper, p rpc.GatewayOpenParams) (s *gatewaySession, resumed bool, err error) {
	path, err := consent.Path()
	if err != nil {
		return nil, false, err
	}
	// A page can claim any authority: what it is approved, and the session it
	// may resume, are its origin's alone.
	authority := strings.TrimSpace(h.origin + " " + p.Authority)
	key := ""
	if p.Workspace != "" {
		key = authority + "\x00" + p.Workspace
	}
	if !p.Fresh {
		if s := all.waiting(key); s != nil && s.drivenBy(h) {
			return s, true, nil
		}
	}
	if p.ResumeOnly {
		return nil, false, &rpc.Error{Code: rpc.CodeNoSession, Message: "no session is waiting for this workspace"}
	}
	s, err = all.start(h, p, key, consent.New(path, authority, p.Workspace))
	return s, false, err
}

// silentAfter is how long a session's remote has said nothing when its window counts
// as abandoned: it sleeps, or has lost its remote.
const silentAfter = 2 * carrier.StallAfter

// waiting is the session of key that was left last, or else one whose window is
// abandoned. One that has its shim otherwise stays with it: another window on the
// same workspace gets a session of its own.
func (all *gatewaySessions) waiting(key string) (found *gatewaySession) {
	if key == "" {
		return nil
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.list {
		switch {
		case s.key != key:
		case !s.driven():
			found = s
		case found == nil && s.carrier.Link().Silent > silentAfter:
			found = s
		}
	}
	return found
}

func (all *gatewaySessions) start(h *gatewayHelper, p rpc.GatewayOpenParams, key string, approvals *consent.Approvals) (*gatewaySession, error) {
	s := &gatewaySession{all: all, key: key, authority: p.Authority, workspace: p.Workspace, since: time.Now(),
		approvals: approvals, state: rpc.StateWaiting, changed: make(chan struct{}, 1), shim: h}
	plain, err := newSession(all.log, resumeLimit(p.ResumeSeconds), s.touch)
	if err != nil {
		return nil, err
	}
	s.session = plain
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.exits.log = all.log
	s.direct = &directLinks{c: s.carrier, log: all.log, wanted: s.driven}
	s.gw = gateway.New(gatewayOptions(all.log, gateway.Options{
		StrictProxy: p.StrictProxy, Dial: dial.Options{OwnPorts: h.ownPorts}, OnChange: s.touch,
	}))
	s.abandoned = time.AfterFunc(time.Hour, func() { s.end(errors.New("its window did not come back")) })
	s.abandoned.Stop()
	all.mu.Lock()
	full := len(all.list) >= maxSessions
	if !full {
		all.list = append(all.list, s)
	}
	all.mu.Unlock()
	if full {
		_ = s.carrier.Close()
		return nil, &rpc.Error{Code: rpc.CodeBusy, Message: "too many sessions"}
	}
	h.mu.Lock()
	h.session = s
	h.mu.Unlock()
	s.running.Go(s.tellStatus)
	s.running.Go(func() { s.ended(s.serve(s.ctx, s.gw)) })
	return s, nil
}

// drivenBy makes h the shim of s, in place of one whose window is abandoned, and
// reports whether it could.
func (s *gatewaySession) drivenBy(h *gatewayHelper) bool {
	silent := s.carrier.Link().Silent > silentAfter
	s.mu.Lock()
	before := s.shim
	if before != nil && !silent || s.state == rpc.StateClosed {
		s.mu.Unlock()
		return false
	}
	s.shim = h
	s.abandoned.Stop()
	s.mu.Unlock()
	h.mu.Lock()
	h.session = s
	h.mu.Unlock()
	if before != nil {
		before.mu.Lock()
		before.session = nil
		before.mu.Unlock()
		go dismiss(before.conn.Load(), rpc.GatewayStatus{State: rpc.StateClosed, Reason: reasonTakenOver, Resources: []rpc.ResourceStatus{}})
	}
	s.touch()
	return true
}

// driven tells whether a shim is there.
func (s *gatewaySession) driven() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shim != nil
}

// leftBy notes that the shim h is gone.
func (s *gatewaySession) leftBy(h *gatewayHelper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shim == h {
		s.shim = nil
		s.abandoned.Reset(s.options.ResumeLimit)
	}
}

func (s *gatewaySession) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *gatewaySession) notify(method string, params any) {
	s.mu.Lock()
	h := s.shim
	s.mu.Unlock()
	if h != nil {
		h.notify(method, params)
	}
}

// tellStatus notifies the shim of changes, not more often than statusPeriod.
func (s *gatewaySession) tellStatus() {
	for {
		// Byte counts change without a word: flows are looked at once a second.
		select {
		case <-s.changed:
		case <-time.After(time.Second):
			if s.gw.Status().Flows == 0 {
				continue
			}
		case <-s.ctx.Done():
			return
		}
		s.notify(rpc.NotifyStatus, s.status())
		select {
		case <-time.After(statusPeriod):
		case <-s.ctx.Done():
			return
		}
	}
}

// ended notes that the session is over, and tells the shim.
func (s *gatewaySession) ended(err error) {
	reason := "closed"
	if err != nil {
		reason = err.Error()
	}
	s.log.Info().Str("reason", reason).Msg("disconnected")
	s.all.mu.Lock()
	for i, other := range s.all.list {
		if other == s {
			s.all.list = append(s.all.list[:i:i], s.all.list[i+1:]...)
			break
		}
	}
	s.all.mu.Unlock()
	s.mu.Lock()
	s.state, s.reason = rpc.StateClosed, reason
	s.abandoned.Stop()
	h := s.shim
	s.mu.Unlock()
	s.stop(errors.New(reason))
	s.setting.Lock()
	s.exits.keep(nil)
	s.setting.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	if h.session == s {
		h.session = nil
	}
	h.mu.Unlock()
	h.notify(rpc.NotifyStatus, s.status())
	h.notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reason})
}

// end ends the session in order and returns when it is cleaned up.
func (s *gatewaySession) end(reason error) {
	s.stop(reason)
	waitAtMost(cleanUpTime, s.running.Wait)
}

// sessions lists the sessions, the oldest first.
func (all *gatewaySessions) sessions() []daemon.Session {
	all.mu.Lock()
	list := slices.Clone(all.list)
	all.mu.Unlock()
	told := make([]daemon.Session, len(list))
	for i, s := range list {
		st := s.status()
		told[i] = daemon.Session{ID: s.id(), State: st.State, Link: s.carrier.Link().Kind, Authority: s.authority,
			Workspace: s.workspace, Since: s.since, Driven: s.driven()}
		told[i].Status, _ = json.Marshal(st)
	}
	return told
}

func (all *gatewaySessions) endSession(id string) error {
	all.mu.Lock()
	i := slices.IndexFunc(all.list, func(s *gatewaySession) bool { return s.id() == id })
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
func (all *gatewaySessions) endAll(reason error) {
	all.mu.Lock()
	list := slices.Clone(all.list)
	all.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range list {
		wg.Go(func() { s.end(reason) })
	}
	wg.Wait()
}
