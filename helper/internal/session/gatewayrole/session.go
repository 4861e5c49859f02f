// Package gatewayrole connects the gateway to the programs that drive it: it
// serves the gateway's methods of the protocol, keeps the resources, exits and
// approvals of each session, and turns the gateway's types into the protocol's.
// What may be reached is for the gateway to judge.
package gatewayrole

import (
	"context"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"slices"
	"strings"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// dialRate bounds how many connections per second a remote can make the gateway
// open. A page load or a test suite stays far below it.
const dialRate = 5000

// silentAfter is how long a session has heard nothing of its remote when its
// window counts as abandoned: the window sleeps, or has lost its remote.
const silentAfter = 2 * carrier.SilentAfter

// NewGateway returns a gateway with the options that every gateway of this
// program has.
func NewGateway(log zerolog.Logger, o gateway.Options) *gateway.Gateway {
	o.Log = log
	o.DialRate = dialRate
	return gateway.New(o)
}

// Session is a session with its gateway.
type Session struct {
	in        *session.Session[*Session]
	log       zerolog.Logger
	key       string // who may resume it: the page's origin, the remote and the workspace; "" if nobody
	authority string
	workspace string
	gw        *gateway.Gateway
	approvals *consent.Approvals
	direct    *link.Direct
	setting   sync.Mutex // held while resources and exits are replaced
	exits     *Exits
	untold    chan struct{} // has an element while the driver has yet to hear of the newest review

	mu       sync.Mutex
	telling  bool // the driver is being told of a review
	asking   bool // askUser runs, or is to run
	review   consent.Review
	problems []resource.Problem // of parsing
	driver   *conversation      // the last one that opened the session
	state    string
	reason   string
}

// keyOf returns who may resume a session. A page can claim any authority, so
// that what it is approved, and the session that it may resume, belong to its
// origin alone.
func keyOf(origin string, p rpc.GatewayOpenParams) (authority, key string) {
	authority = strings.TrimSpace(origin + " " + p.Authority)
	if p.Workspace != "" {
		key = authority + "\x00" + p.Workspace
	}
	return authority, key
}

// waiting picks the session of key that was left last, or else one whose window
// is abandoned. Any other session stays with its driver: another window on the
// same workspace gets a session of its own.
func waiting(list []session.Candidate[*Session], key string) (found *session.Session[*Session]) {
	if key == "" {
		return nil
	}
	for _, s := range list {
		switch {
		case s.Work.key != key:
		case !s.Driven:
			found = s.Session
		case found == nil && s.Carrier.Link().Unheard > silentAfter:
			found = s.Session
		}
	}
	return found
}

// newSession returns the work of a session of h.
func (h *conversation) newSession(in *session.Session[*Session], p rpc.GatewayOpenParams, key string, approvals *consent.Approvals) *Session {
	log := h.role.log
	return &Session{
		in: in, log: log, key: key, authority: p.Authority, workspace: p.Workspace, approvals: approvals, state: rpc.StateWaiting,
		exits:  NewExits(log, nil),
		untold: make(chan struct{}, 1),
		direct: &link.Direct{Carrier: in.Carrier, Log: log, Wanted: in.Driven},
		gw:     NewGateway(log, gateway.Options{StrictProxy: p.StrictProxy, CheckHealth: true, Dial: dial.Options{OwnPorts: h.ownPorts}, OnChange: in.Changed}),
	}
}

// Run implements session.Work.
func (s *Session) Run(ctx context.Context) error {
	s.in.Go(s.tellReviews)
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.approvals.Changes(ctx, s.approvalsChanged)
	}()
	defer func() { cancel(); <-watched }()
	return session.Serve(ctx, s.in.Carrier, s.log, tunnel.Server, s.gw.Serve)
}

// approvalsChanged puts the file of approvals into effect as it is now: another process
// may have revoked an approval, or given one for this workspace.
func (s *Session) approvalsChanged() {
	s.mu.Lock()
	h := s.driver
	s.mu.Unlock()
	if h == nil {
		return
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	review := s.approvals.Again()
	s.mu.Lock()
	same := slices.EqualFunc(review.Approved, s.review.Approved, func(a, b resource.Approved) bool {
		return a.From == b.From && a.Resource.Equal(b.Resource)
	})
	s.mu.Unlock()
	if !same {
		h.apply(s, review)
		s.tellReview()
	}
}

// tellReview has the driver told of the newest review. It does not block.
func (s *Session) tellReview() {
	select {
	case s.untold <- struct{}{}:
	default:
	}
}

// tellReviews tells the driver of reviews until the session ends. A driver that does not
// read blocks nothing else, and gets only the newest review when it reads again.
func (s *Session) tellReviews() {
	for {
		select {
		case <-s.untold:
		case <-s.in.Context().Done():
			return
		}
		s.mu.Lock()
		s.telling = true
		result := resourcesResult(s.problems, s.review)
		s.mu.Unlock()
		s.in.Notify(rpc.NotifyApprovals, result)
		s.mu.Lock()
		s.telling = false
		s.mu.Unlock()
	}
}

// Ended implements session.Work.
func (s *Session) Ended(reason string) {
	s.mu.Lock()
	s.state, s.reason = rpc.StateClosed, reason
	s.mu.Unlock()
	s.setting.Lock()
	s.exits.Keep(nil)
	s.setting.Unlock()
}

// Status implements session.Work.
func (s *Session) Status() (status any, live bool) {
	st := s.status()
	return st, st.Flows > 0
}

// Describe implements session.Work.
func (s *Session) Describe() daemon.Session {
	return daemon.Session{State: s.status().State, Authority: s.authority, Workspace: s.workspace}
}

func dismissal(reason string) any {
	return rpc.GatewayStatus{State: rpc.StateClosed, Reason: reason, Resources: []rpc.ResourceStatus{}}
}
