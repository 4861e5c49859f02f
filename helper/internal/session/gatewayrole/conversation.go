package gatewayrole

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/rs/zerolog"
)

// Role serves the gateway's role to drivers.
type Role struct {
	*session.Registry[*Session]
	log    zerolog.Logger
	helper rpc.HelperInfo
}

// New returns the role without sessions. Helper is what drivers are told of
// this process.
func New(log zerolog.Logger, helper rpc.HelperInfo) *Role {
	helper.Role = "gateway"
	return &Role{Registry: session.NewRegistry[*Session](log, dismissal), log: log, helper: helper}
}

// Preapproval is what the files of a command line approve.
type Preapproval struct {
	Resources   []resource.Approved
	Exits       map[string]resource.Exit        // by what the resources name
	Credentials map[string]resource.Credentials // by the proxy's URL
}

// conversation serves the gateway's methods to one driver.
type conversation struct {
	*session.Driver[*Session]
	role     *Role
	pre      Preapproval
	ownPorts []uint16
	user     terminal.Asker              // who is asked for approvals here; nil: the driver asks
	origin   string                      // of the page that drives; "" for a program of this user
	admit    func(context.Context) error // asks whether the page may drive at all; nil: yes

	watching sync.Mutex
	ignore   func() // ends what WatchFlows has begun; guarded by watching; nil: nothing
}

var _ rpc.GatewayHandler = (*conversation)(nil)

// Serve serves one driver until its conversation ends, or ctx. SetLevel changes
// the level of what the driver sees of the log.
func (r *Role) Serve(ctx context.Context, p rpc.Pipe, setLevel func(string) error) error {
	h := &conversation{Driver: r.NewDriver(r.log, setLevel), role: r}
	return h.Run(ctx, rpc.ServeGateway(p, rpc.Identity{Helper: r.helper}, h), 0)
}

func (h *conversation) OpenSession(ctx context.Context, p rpc.GatewayOpenParams) (rpc.GatewayOpenResult, error) {
	if h.admit != nil {
		if err := h.admit(ctx); err != nil {
			return rpc.GatewayOpenResult{}, &rpc.Error{Code: rpc.CodeUnauthorized, Message: err.Error()}
		}
	}
	path, err := consent.Path()
	if err != nil {
		return rpc.GatewayOpenResult{}, err
	}
	authority, key := keyOf(h.origin, p)
	s, resumed, err := h.Open(func(list []session.Candidate[*Session]) (*session.Session[*Session], error) {
		if !p.Fresh {
			if s := waiting(list, key); s != nil {
				return s, nil
			}
		}
		if p.ResumeOnly {
			return nil, &rpc.Error{Code: rpc.CodeNoSession, Message: "no session is waiting for this workspace"}
		}
		return nil, nil
	}, func() (session.Spec, func(*session.Session[*Session]) *Session, error) {
		keys, err := session.NewKeys()
		begin := func(in *session.Session[*Session]) *Session {
			return h.newSession(in, p, key, consent.New(path, authority, p.Workspace))
		}
		return session.Spec{Role: carrier.Gateway, Keys: keys, Resume: session.ResumeLimit(p.ResumeSeconds)}, begin, err
	})
	if err != nil {
		return rpc.GatewayOpenResult{}, err
	}
	id, secret := s.Keys().Hex()
	s.Work.mu.Lock()
	s.Work.driver = h
	s.Work.mu.Unlock()
	result := h.set(s.Work, rpc.ResourcesParams{Resources: p.Resources, WorkspaceResources: p.WorkspaceResources, Exits: p.Exits, Credentials: p.Credentials})
	return rpc.GatewayOpenResult{Session: id, Secret: secret, Resumed: resumed, ResourcesResult: result}, nil
}

// open returns the open session.
func (h *conversation) open() (*Session, error) {
	s, err := h.Session()
	if err != nil {
		return nil, err
	}
	return s.Work, nil
}

func (h *conversation) SetResources(_ context.Context, p rpc.ResourcesParams) (rpc.ResourcesResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ResourcesResult{}, err
	}
	return h.set(s, p), nil
}

func (h *conversation) AnswerApprovals(_ context.Context, p rpc.ApprovalAnswers) (rpc.ResourcesResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ResourcesResult{}, err
	}
	var failed []error
	s.setting.Lock()
	defer s.setting.Unlock()
	s.mu.Lock()
	review := s.review
	s.mu.Unlock()
	for _, a := range p.Answers {
		r, err := s.approvals.Answer(a.ID, consent.Decision(a.Decision))
		review = r
		failed = append(failed, err)
	}
	result := h.apply(s, review)
	s.tellReview()
	return result, errors.Join(failed...)
}

func (h *conversation) TestResource(ctx context.Context, p rpc.TestParams) (rpc.TestResult, error) {
	s, err := h.open()
	if err != nil {
		return rpc.TestResult{}, err
	}
	if p.Port < 0 || p.Port > 65535 {
		return rpc.TestResult{}, fmt.Errorf("%d is not a port", p.Port)
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

// CheckHealth implements rpc.GatewayHandler.
func (h *conversation) CheckHealth(ctx context.Context) (rpc.GatewayStatus, error) {
	s, err := h.open()
	if err != nil {
		return rpc.GatewayStatus{}, err
	}
	s.gw.CheckHealth(ctx)
	return s.status(), ctx.Err()
}

func (h *conversation) ClientArguments(ctx context.Context, p rpc.ClientParams) (rpc.ClientArguments, error) {
	s, err := h.open()
	if err != nil {
		return rpc.ClientArguments{}, err
	}
	told, err := s.gw.Arguments(ctx, p.Resource, p.PID)
	return rpc.ClientArguments{Arguments: told}, err
}

func (h *conversation) Status(context.Context) (rpc.GatewayStatus, error) {
	s, err := h.open()
	if err != nil {
		return rpc.GatewayStatus{State: rpc.StateClosed, Resources: []rpc.ResourceStatus{}}, nil
	}
	return s.status(), nil
}

// DialLinks keeps direct links through a port of this machine.
func (h *conversation) DialLinks(ctx context.Context, p rpc.DirectLink) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	if err := s.direct.Use(ctx, p.Port); err != nil {
		return fmt.Errorf("open a direct link through port %d: %w", p.Port, err)
	}
	return nil
}
