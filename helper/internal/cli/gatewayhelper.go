package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// statusPeriod is the least time between two notifications of the status.
const statusPeriod = 250 * time.Millisecond

// gatewayHelper serves the gateway's methods to one shim.
type gatewayHelper struct {
	log      zerolog.Logger
	sessions *gatewaySessions
	pre      preapproval
	ownPorts []uint16
	terminal *terminal                   // where approvals are asked for; nil: the shim asks
	origin   string                      // of the page that is served; "" for a shim that started us
	admit    func(context.Context) error // asks whether the page may be served at all; nil: yes
	conn     atomic.Pointer[rpc.Conn]

	mu      sync.Mutex
	session *gatewaySession // the one it drives
}

func newGatewayHelper(log zerolog.Logger, sessions *gatewaySessions) *gatewayHelper {
	return &gatewayHelper{log: log, sessions: sessions}
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
	h.mu.Lock()
	busy := h.session != nil
	h.mu.Unlock()
	if busy {
		return rpc.GatewayOpenResult{}, &rpc.Error{Code: rpc.CodeBusy, Message: "a session is open already"}
	}
	s, resumed, err := h.sessions.open(h, p)
	if err != nil {
		return rpc.GatewayOpenResult{}, err
	}
	result := h.set(s, rpc.ResourcesParams{Resources: p.Resources, WorkspaceResources: p.WorkspaceResources, Exits: p.Exits, Credentials: p.Credentials})
	return rpc.GatewayOpenResult{Session: s.id(), Secret: s.secret(), Resumed: resumed, ResourcesResult: result}, nil
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
	s.setting.Lock()
	defer s.setting.Unlock()
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
	named := map[string]resource.Exit{}
	if len(p.Exits) > 0 && string(p.Exits) != "null" {
		const root = "causeway.exits"
		var wrong []resource.Problem
		named, wrong = resource.ParseExits(root, p.Exits)
		for i := range wrong {
			wrong[i].Line, wrong[i].Column = 0, 0
		}
		problems = append(append(problems, wrong...), resource.Absolute(root, named, "")...)
	}
	wanted := maps.Clone(h.pre.exits)
	if wanted == nil {
		wanted = map[string]resource.Exit{}
	}
	known := func(root string, raw []byte) (list []resource.Resource) {
		for _, r := range parse(root, raw) {
			if trouble := byWay(&r, named, wanted, "causeway.exits"); trouble != "" {
				problems = append(problems, resource.Problem{Path: root, Message: trouble})
				continue
			}
			list = append(list, r)
		}
		return list
	}
	credentials, wrong := h.credentials(p.Credentials)
	problems = append(problems, wrong...)
	user := h.withoutPreapproved(known("causeway.resources", p.Resources))
	workspace := h.withoutPreapproved(known("causeway.workspaceResources", p.WorkspaceResources))
	review := s.approvals.Review(user, workspace)
	s.mu.Lock()
	s.problems = problems
	s.mu.Unlock()
	// Before what is approved, and after it: no resource is without its exit.
	s.exits.credentials.Store(&credentials)
	s.gw.SetExits(s.exits.use(wanted))
	result := h.apply(s, review)
	s.exits.keep(wanted)
	return result
}

// credentials returns those of the command line's file and what the shim has, which
// holds.
func (h *gatewayHelper) credentials(raw []byte) (map[string]resource.Credentials, []resource.Problem) {
	all := map[string]resource.Credentials{}
	maps.Copy(all, h.pre.credentials)
	if len(raw) == 0 || string(raw) == "null" {
		return all, nil
	}
	given, wrong := resource.ParseCredentials("proxy credentials", raw)
	for i := range wrong {
		wrong[i].Line, wrong[i].Column = 0, 0
	}
	maps.Copy(all, given)
	return all, wrong
}

// withoutPreapproved leaves out what the command line's file has already.
func (h *gatewayHelper) withoutPreapproved(list []resource.Resource) (rest []resource.Resource) {
	for _, r := range list {
		covered := false
		for _, a := range h.pre.resources {
			covered = covered || r.Name == a.Resource.Name || r.Within(a.Resource)
		}
		if !covered {
			rest = append(rest, r)
		}
	}
	return rest
}

// hold makes a review hold.
func (h *gatewayHelper) hold(s *gatewaySession, review consent.Review) rpc.ResourcesResult {
	s.mu.Lock()
	s.review = review
	result := resourcesResult(s.problems, review)
	s.mu.Unlock()
	s.gw.SetApproved(append(append([]resource.Approved(nil), h.pre.resources...), review.Approved...))
	s.touch()
	return result
}

// apply makes a review hold, and asks for what is pending where that is asked here.
func (h *gatewayHelper) apply(s *gatewaySession, review consent.Review) rpc.ResourcesResult {
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
		answer, err := h.terminal.ask(s.ctx, question(p), string(consent.Always), string(consent.Once), string(consent.No))
		if err != nil {
			return
		}
		review, err := s.approvals.Answer(p.ID, consent.Decision(answer))
		if err != nil {
			h.log.Warn().Err(err).Str("resource", p.Resource.Name).Msg("approval")
		}
		h.notify(rpc.NotifyApprovals, h.hold(s, review))
	}
}

// question puts a proposal to a person at a terminal.
func question(p consent.Proposal) string {
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
	line("exit", a.Exit)
	line("programs", strings.Join(a.Programs, ", "))
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
		r, err := s.approvals.Answer(a.ID, consent.Decision(a.Decision))
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

func (h *gatewayHelper) ClientArguments(ctx context.Context, p rpc.ClientParams) (rpc.ClientArguments, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ClientArguments{}, err
	}
	told, err := s.gw.Arguments(ctx, p.Resource, p.PID)
	return rpc.ClientArguments{Arguments: told}, err
}

func (h *gatewayHelper) Status(context.Context) (rpc.GatewayStatus, error) {
	s, err := h.open()
	if err != nil {
		return rpc.GatewayStatus{State: rpc.StateClosed, Resources: []rpc.ResourceStatus{}}, nil
	}
	return s.status(), nil
}

// AttachLink takes l into use for the session.
func (h *gatewayHelper) AttachLink(l *rpc.Link) {
	s, err := h.open()
	if err == nil {
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

// DialLinks keeps direct links by a port of this machine.
func (h *gatewayHelper) DialLinks(ctx context.Context, p rpc.DirectLink) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	if err := s.direct.use(ctx, p.Port); err != nil {
		return fmt.Errorf("direct link by port %d: %w", p.Port, err)
	}
	return nil
}

func (h *gatewayHelper) CloseSession(context.Context) error {
	h.mu.Lock()
	s := h.session
	h.session = nil
	h.mu.Unlock()
	if s != nil {
		s.end(errUserDisconnected)
	}
	return nil
}

// leave ends what this shim has to do with its session, which waits for another
// one unless the shim has said that it is over.
func (h *gatewayHelper) leave(exited bool) {
	h.mu.Lock()
	s := h.session
	h.session = nil
	h.mu.Unlock()
	switch {
	case s == nil:
	case exited:
		s.end(errUserDisconnected)
	default:
		s.leftBy(h)
	}
}
