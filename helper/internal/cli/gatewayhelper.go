package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// statusPeriod is the least time between two notifications of the status.
const statusPeriod = 250 * time.Millisecond

// gatewayHelper serves the gateway's methods to one shim.
type gatewayHelper struct {
	log         zerolog.Logger
	preapproved []gateway.Approved
	ownPorts    []uint16
	terminal    *terminal                   // where approvals are asked for; nil: the shim asks
	origin      string                      // of the page that is served; "" for a shim that started us
	admit       func(context.Context) error // asks whether the page may be served at all; nil: yes
	conn        atomic.Pointer[rpc.Conn]

	ctx  context.Context // alive until close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	session *gatewaySession // the open one
}

// gatewaySession is what a session has besides its link.
type gatewaySession struct {
	*session
	gw        *gateway.Gateway
	approvals *gateway.Approvals
	changed   chan struct{}
	stop      context.CancelCauseFunc
	ctx       context.Context // alive until the session is to end
	running   sync.WaitGroup
	asking    sync.Mutex // held while the terminal is asked

	mu       sync.Mutex
	review   gateway.Review
	problems []resource.Problem // of parsing
	state    string
	reason   string
}

func newGatewayHelper(log zerolog.Logger) *gatewayHelper {
	h := &gatewayHelper{log: log}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

func (h *gatewayHelper) start(c *rpc.Conn) *rpc.Conn {
	h.conn.Store(c)
	return c
}

func (h *gatewayHelper) notify(method string, params any) {
	if c := h.conn.Load(); c != nil {
		_ = c.Notify(method, params)
	}
}

func (h *gatewayHelper) SetLogLevel(level string) error {
	if h.admit != nil {
		return errors.New("this helper serves several windows and logs as its own command line says")
	}
	return setLevel(level)
}

func (h *gatewayHelper) OpenSession(ctx context.Context, p rpc.GatewayOpenParams) (rpc.GatewayOpenResult, error) {
	if h.admit != nil {
		if err := h.admit(ctx); err != nil {
			return rpc.GatewayOpenResult{}, &rpc.Error{Code: rpc.CodeUnauthorized, Message: err.Error()}
		}
	}
	path, err := gateway.ApprovalsPath()
	if err != nil {
		return rpc.GatewayOpenResult{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		return rpc.GatewayOpenResult{}, &rpc.Error{Code: rpc.CodeBusy, Message: "a session is open already"}
	}
	plain, err := newSession(h.log)
	if err != nil {
		return rpc.GatewayOpenResult{}, err
	}
	s := &gatewaySession{session: plain, state: rpc.StateWaiting, changed: make(chan struct{}, 1),
		// A page can claim any authority: what it is approved is its origin's alone.
		approvals: gateway.NewApprovals(path, strings.TrimSpace(h.origin+" "+p.Authority), p.Workspace)}
	s.ctx, s.stop = context.WithCancelCause(h.ctx)
	s.gw = gateway.New(gatewayOptions(h.log, gateway.Options{
		StrictProxy: p.StrictProxy, OwnPorts: h.ownPorts, OnChange: s.touch,
	}))
	h.session = s
	s.running.Go(func() { h.tellStatus(s) })
	result := h.set(s, rpc.ResourcesParams{Resources: p.Resources, WorkspaceResources: p.WorkspaceResources})
	return rpc.GatewayOpenResult{Session: s.id(), Secret: s.secret(), ResourcesResult: result}, nil
}

func (s *gatewaySession) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// open returns the open session.
func (h *gatewayHelper) open() (*gatewaySession, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		return nil, &rpc.Error{Code: rpc.CodeNoSession, Message: "no session is open"}
	}
	return h.session, nil
}

func (h *gatewayHelper) SetResources(_ context.Context, p rpc.ResourcesParams) (rpc.ResourcesResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ResourcesResult{}, err
	}
	return h.set(s, p), nil
}

func (h *gatewayHelper) set(s *gatewaySession, p rpc.ResourcesParams) rpc.ResourcesResult {
	var problems []resource.Problem
	parse := func(root string, raw []byte) []resource.Resource {
		if len(raw) == 0 || string(raw) == "null" {
			return nil
		}
		list, wrong := resource.Parse(root, raw)
		for i := range wrong {
			wrong[i].Line, wrong[i].Column = 0, 0 // the shim's JSON is not the user's text
		}
		problems = append(problems, wrong...)
		return list
	}
	user := h.withoutPreapproved(parse("causeway.resources", p.Resources))
	workspace := h.withoutPreapproved(parse("causeway.workspaceResources", p.WorkspaceResources))
	review := s.approvals.Review(user, workspace)
	s.mu.Lock()
	s.problems = problems
	s.mu.Unlock()
	return h.apply(s, review)
}

// withoutPreapproved leaves out what the command line's file has already.
func (h *gatewayHelper) withoutPreapproved(list []resource.Resource) (rest []resource.Resource) {
	for _, r := range list {
		covered := false
		for _, a := range h.preapproved {
			covered = covered || r.Name == a.Resource.Name || r.Within(a.Resource)
		}
		if !covered {
			rest = append(rest, r)
		}
	}
	return rest
}

// hold makes a review hold.
func (h *gatewayHelper) hold(s *gatewaySession, review gateway.Review) rpc.ResourcesResult {
	s.mu.Lock()
	s.review = review
	result := resourcesResult(s.problems, review)
	s.mu.Unlock()
	s.gw.SetApproved(append(append([]gateway.Approved(nil), h.preapproved...), review.Approved...))
	s.touch()
	return result
}

// apply makes a review hold, and asks for what is pending where that is asked here.
func (h *gatewayHelper) apply(s *gatewaySession, review gateway.Review) rpc.ResourcesResult {
	result := h.hold(s, review)
	if h.terminal != nil && len(review.Pending) > 0 {
		s.running.Go(func() { h.askTerminal(s) })
	}
	return result
}

// askTerminal asks for everything that is pending, until nothing is.
func (h *gatewayHelper) askTerminal(s *gatewaySession) {
	s.asking.Lock()
	defer s.asking.Unlock()
	for {
		s.mu.Lock()
		pending := s.review.Pending
		s.mu.Unlock()
		if len(pending) == 0 || s.ctx.Err() != nil {
			return
		}
		p := pending[0]
		answer, err := h.terminal.ask(s.ctx, question(p), string(gateway.Always), string(gateway.Once), string(gateway.No))
		if err != nil {
			return
		}
		review, err := s.approvals.Answer(p.ID, gateway.Decision(answer))
		if err != nil {
			h.log.Warn().Err(err).Str("resource", p.Resource.Name).Msg("approval")
		}
		h.notify(rpc.NotifyApprovals, h.hold(s, review))
	}
}

// question puts a proposal to a person at a terminal.
func question(p gateway.Proposal) string {
	var b strings.Builder
	a := approvalOf(p)
	fmt.Fprintf(&b, "\nThe %s settings ask for a %s resource:\n", a.From, a.Change)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, printable(value))
		}
	}
	line("name", a.Name)
	line("host", a.Host)
	line("ports", strings.Join(a.Ports, ", "))
	line("protocols", strings.Join(a.Protocols, ", "))
	line("addresses", strings.Join(a.Addresses, ", "))
	line("as", a.As)
	line("description", a.Description)
	for _, d := range a.Differences {
		line("was "+d.Field, d.Was)
	}
	for _, w := range a.Warnings {
		line("careful", w)
	}
	b.WriteString("Let the remote reach it?")
	return b.String()
}

func (h *gatewayHelper) AnswerApprovals(_ context.Context, p rpc.ApprovalAnswers) (rpc.ResourcesResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ResourcesResult{}, err
	}
	var failed []error
	s.mu.Lock()
	review := s.review
	s.mu.Unlock()
	for _, a := range p.Answers {
		r, err := s.approvals.Answer(a.ID, gateway.Decision(a.Decision))
		review = r
		failed = append(failed, err)
	}
	result := h.apply(s, review)
	h.notify(rpc.NotifyApprovals, result)
	return result, errors.Join(failed...)
}

func (h *gatewayHelper) TestResource(ctx context.Context, p rpc.TestParams) (rpc.TestResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.TestResult{}, err
	}
	if p.Port < 0 || p.Port > 65535 {
		return rpc.TestResult{}, fmt.Errorf("%d is no port", p.Port)
	}
	result := rpc.TestResult{OK: true, Steps: []rpc.TestStep{}}
	for _, step := range s.gw.Test(ctx, p.Resource, uint16(p.Port)) {
		result.OK = result.OK && step.OK
		result.Steps = append(result.Steps, rpc.TestStep{
			Step: step.Name, OK: step.OK, Detail: step.Detail, Hint: step.Hint,
			Millis: float64(step.Took.Microseconds()) / 1000,
		})
	}
	return result, nil
}

func (h *gatewayHelper) Status(context.Context) (rpc.GatewayStatus, error) {
	s, err := h.open()
	if err != nil {
		return rpc.GatewayStatus{State: rpc.StateClosed, Resources: []rpc.ResourceStatus{}}, nil
	}
	return s.status(), nil
}

// tellStatus notifies the shim of changes, not more often than statusPeriod.
func (h *gatewayHelper) tellStatus(s *gatewaySession) {
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
		h.notify(rpc.NotifyStatus, s.status())
		select {
		case <-time.After(statusPeriod):
		case <-s.ctx.Done():
			return
		}
	}
}

// AttachLink carries the session over l until it ends.
func (h *gatewayHelper) AttachLink(l *rpc.Link) {
	h.mu.Lock()
	s := h.session
	if s != nil {
		s.running.Add(1)
	}
	h.mu.Unlock()
	if s == nil {
		_ = l.Close()
		h.notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: "no session is open"})
		return
	}
	h.wg.Go(func() {
		err := s.serve(s.ctx, l, s.gw)
		s.running.Done()
		h.ended(s, err)
	})
}

// ended tells the shim that s is over.
func (h *gatewayHelper) ended(s *gatewaySession, err error) {
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
	s.mu.Lock()
	s.state, s.reason = rpc.StateClosed, reason
	s.mu.Unlock()
	s.stop(errors.New(reason))
	h.notify(rpc.NotifyStatus, s.status())
	h.notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reason})
}

func (h *gatewayHelper) CloseSession(context.Context) error {
	h.endSession(errors.New("the user disconnected"))
	return nil
}

func (h *gatewayHelper) endSession(reason error) {
	h.mu.Lock()
	s := h.session
	h.session = nil
	h.mu.Unlock()
	if s == nil {
		return
	}
	s.stop(reason)
	waitAtMost(cleanUpTime, s.running.Wait)
	_ = s.carrier.CloseWithReason(reason.Error())
}

func (h *gatewayHelper) close() {
	h.endSession(errors.New("the local helper is ending"))
	h.stop()
	waitAtMost(cleanUpTime, h.wg.Wait)
}
