package rpc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/sourcegraph/jsonrpc2"
)

// Base is what both roles serve.
type Base interface {
	SetLogLevel(level string) error
	// AttachLink gets each link that the driver opens, after the reply, in a
	// goroutine of its own. A newer link closes the older one.
	AttachLink(l *Link)
	// CloseSession ends the session in order and returns when it is cleaned up.
	CloseSession(ctx context.Context) error
}

// GatewayHandler serves the gateway's methods.
type GatewayHandler interface {
	Base
	OpenSession(ctx context.Context, p GatewayOpenParams) (GatewayOpenResult, error)
	SetResources(ctx context.Context, p ResourcesParams) (ResourcesResult, error)
	// AnswerApprovals is called only if the pipe is local.
	AnswerApprovals(ctx context.Context, p ApprovalAnswers) (ResourcesResult, error)
	TestResource(ctx context.Context, p TestParams) (TestResult, error)
	// CheckHealth tests the resources and returns the status after that.
	CheckHealth(ctx context.Context) (GatewayStatus, error)
	ClientArguments(ctx context.Context, p ClientParams) (ClientArguments, error)
	Status(ctx context.Context) (GatewayStatus, error)
	// WatchFlows begins to send NotifyFlows, from an empty state. IgnoreFlows ends it.
	WatchFlows(ctx context.Context) error
	IgnoreFlows(ctx context.Context) error
	// DialLinks returns when the first direct link is in use. It is called only if
	// the pipe is local.
	DialLinks(ctx context.Context, p DirectLink) error
}

// CaptureHandler serves the capture's methods.
type CaptureHandler interface {
	Base
	OpenSession(ctx context.Context, p CaptureOpenParams) error
	Status(ctx context.Context) (CaptureStatus, error)
	ListenLinks(ctx context.Context) (DirectLink, error)
}

// Identity describes a helper, and says what it asks drivers for.
type Identity struct {
	Helper HelperInfo
	Token  string // the pairing token to ask for; "" asks for none
}

// ServeGateway begins to serve h over p.
func ServeGateway(p Pipe, id Identity, h GatewayHandler) *Conn {
	m := base(h)
	m[MethodSessionOpen] = serve(h.OpenSession)
	m[MethodResourcesSet] = serve(h.SetResources)
	m[MethodResourceTest] = serve(h.TestResource)
	m[MethodHealthCheck] = serve(func(ctx context.Context, _ struct{}) (GatewayStatus, error) { return h.CheckHealth(ctx) })
	m[MethodClientArgs] = serve(h.ClientArguments)
	m[MethodSessionStatus] = serve(func(ctx context.Context, _ struct{}) (GatewayStatus, error) { return h.Status(ctx) })
	m[MethodFlowsWatch] = serve(func(ctx context.Context, _ struct{}) (any, error) { return nil, h.WatchFlows(ctx) })
	m[MethodFlowsIgnore] = serve(func(ctx context.Context, _ struct{}) (any, error) { return nil, h.IgnoreFlows(ctx) })
	m[MethodApprovalsSet] = serve(h.AnswerApprovals)
	m[MethodLinkDial] = serve(func(ctx context.Context, p DirectLink) (any, error) { return nil, h.DialLinks(ctx, p) })
	if !p.Local() {
		m[MethodApprovalsSet] = func(context.Context, json.RawMessage) (any, error) {
			return nil, &Error{CodeNotAllowed, "approvals are given at the local helper itself"}
		}
		m[MethodLinkDial] = func(context.Context, json.RawMessage) (any, error) {
			return nil, &Error{CodeNotAllowed, "a page in a browser has no port that leads to the remote"}
		}
	}
	return start(p, id, m, h)
}

// ServeCapture begins to serve h over p.
func ServeCapture(p Pipe, id Identity, h CaptureHandler) *Conn {
	m := base(h)
	m[MethodSessionOpen] = serve(func(ctx context.Context, p CaptureOpenParams) (any, error) { return nil, h.OpenSession(ctx, p) })
	m[MethodSessionStatus] = serve(func(ctx context.Context, _ struct{}) (CaptureStatus, error) { return h.Status(ctx) })
	m[MethodLinkListen] = serve(func(ctx context.Context, _ struct{}) (DirectLink, error) { return h.ListenLinks(ctx) })
	return start(p, id, m, h)
}

func base(h Base) map[string]method {
	return map[string]method{
		MethodSetLogLevel: serve(func(_ context.Context, p LogLevelParams) (any, error) {
			if err := h.SetLogLevel(p.Level); err != nil {
				return nil, &Error{jsonrpc2.CodeInvalidParams, err.Error()}
			}
			return nil, nil
		}),
		MethodSessionClose: serve(func(ctx context.Context, _ struct{}) (any, error) { return nil, h.CloseSession(ctx) }),
	}
}

var errNotInitialized = &Error{CodeNotInitialized, "call initialize first"}

func start(p Pipe, id Identity, m map[string]method, h Base) *Conn {
	var c *Conn
	var ready atomic.Bool
	started := make(chan struct{})
	for name, f := range m {
		m[name] = func(ctx context.Context, params json.RawMessage) (any, error) {
			if !ready.Load() {
				return nil, errNotInitialized
			}
			return f(ctx, params)
		}
	}
	m[MethodLinkOpen] = func(ctx context.Context, _ json.RawMessage) (any, error) {
		if !ready.Load() {
			return nil, errNotInitialized
		}
		l := ctx.Value(offeredLink{}).(*Link)
		return deferred{after: func() { h.AttachLink(l) }}, nil
	}
	m[MethodLinkClose] = serve(func(_ context.Context, p LinkClosed) (any, error) {
		if !ready.Load() {
			return nil, errNotInitialized
		}
		<-started
		c.closeLink(p.Reason)
		return nil, nil
	})
	m[MethodInitialize] = serve(func(_ context.Context, hello InitializeParams) (any, error) {
		<-started
		if id.Token != "" && subtle.ConstantTimeCompare([]byte(hello.Token), []byte(id.Token)) != 1 {
			return deferred{after: func() { _ = c.Close() }}, &Error{CodeUnauthorized, "the pairing token is wrong"}
		}
		v, err := Negotiate(Range{Oldest, Current}, hello.Protocol)
		if err != nil {
			return nil, &Error{CodeVersion, err.Error()}
		}
		if ready.CompareAndSwap(false, true) {
			p.Raise()
			close(c.ready)
		}
		return InitializeResult{Protocol: v, Helper: id.Helper}, nil
	})
	c = newConn(p, m, nil)
	close(started)
	return c
}

// Negotiate returns the newest version that both sides speak. The error is a
// sentence for the user.
func Negotiate(ours, theirs Range) (int, error) {
	switch {
	case theirs.Min < 1 || theirs.Max < theirs.Min:
		return 0, fmt.Errorf("protocol versions %d to %d are not a range", theirs.Min, theirs.Max)
	case theirs.Max < ours.Min:
		return 0, fmt.Errorf("the extension speaks protocol version %d, this helper needs %d or later: update the extension", theirs.Max, ours.Min)
	case theirs.Min > ours.Max:
		return 0, fmt.Errorf("the extension needs protocol version %d, this helper speaks %d at most: update the helper (or the extension that brings it)", theirs.Min, ours.Max)
	}
	return min(ours.Max, theirs.Max), nil
}

// serve turns a typed function into a method.
func serve[P, R any](f func(context.Context, P) (R, error)) method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var p P
		if len(raw) > 0 && string(raw) != "null" {
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, &Error{jsonrpc2.CodeInvalidParams, "wrong parameters: " + err.Error()}
			}
		}
		return f(ctx, p)
	}
}

// CaptureEvents are called for the notifications of a capture.
type CaptureEvents struct {
	Status     func(CaptureStatus) // may be nil
	LinkClosed func(LinkClosed)    // may be nil
}

// DialCapture begins to drive the capture at the other end of p, and returns what
// the capture says of itself.
func DialCapture(ctx context.Context, p Pipe, client ClientInfo, ev CaptureEvents) (*Conn, HelperInfo, error) {
	p.Raise() // this side calls, so large answers are expected at once
	c := newConn(p, nil, func(name string, params json.RawMessage) {
		switch name {
		case NotifyStatus:
			var s CaptureStatus
			if json.Unmarshal(params, &s) == nil && ev.Status != nil {
				ev.Status(s)
			}
		case NotifyLinkClosed:
			var l LinkClosed
			if json.Unmarshal(params, &l) == nil && ev.LinkClosed != nil {
				ev.LinkClosed(l)
			}
		}
	})
	var r InitializeResult
	err := c.Call(ctx, MethodInitialize, InitializeParams{Protocol: Range{Oldest, Current}, Client: client}, &r)
	if err != nil {
		_ = c.Close()
		return nil, HelperInfo{}, err
	}
	return c, r.Helper, nil
}
