//go:build linux

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Session is a session between two helpers.
type Session struct {
	Gateway, Capture *Helper
	ID               string
	Secret           string
	// Carried counts the bytes that passed between the helpers.
	Carried  atomic.Int64
	settings Settings
}

// Settings are an editor's settings and the credentials of proxies that it keeps,
// all as JSON. All except Resources may be empty.
type Settings struct {
	Resources, Exits, Credentials string
	Sources                       string // of the capture
	// ResumeSeconds is how long the session waits for a link; 0 is the default.
	ResumeSeconds int
}

// Open opens a session, approves once everything that its settings ask for, and
// joins both helpers by a command link. Neither helper may have a session.
func Open(ctx context.Context, gateway, capture *Helper, settings Settings) (*Session, error) {
	s := &Session{Gateway: gateway, Capture: capture, settings: settings}
	opened, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.ID, s.Secret = opened.Session, opened.Secret
	answers := []map[string]string{}
	for _, a := range opened.Approvals {
		answers = append(answers, map[string]string{"id": a.ID, "decision": "once"})
	}
	if err := gateway.Call(ctx, "approvals/answer", map[string]any{"answers": answers}, nil); err != nil {
		return nil, err
	}
	if err := s.Join(ctx, capture, false); err != nil {
		return nil, err
	}
	if err := s.Link(ctx); err != nil {
		return nil, err
	}
	return s, s.Reach(ctx, func(state, _ string) bool { return state == "connected" })
}

// opened is a gateway's answer.
type opened struct {
	Session, Secret string
	Resumed         bool
	Approvals       []struct{ ID string }
}

func (s *Session) open(ctx context.Context) (o opened, err error) {
	params := map[string]any{"authority": "test+cloud", "workspace": "w", "resources": json.RawMessage(s.settings.Resources), "resumeSeconds": s.settings.ResumeSeconds}
	if s.settings.Exits != "" {
		params["exits"] = json.RawMessage(s.settings.Exits)
	}
	if s.settings.Credentials != "" {
		params["credentials"] = json.RawMessage(s.settings.Credentials)
	}
	return o, s.Gateway.Call(ctx, "session/open", params, &o)
}

// Return makes gateway drive the session in place of the gateway that is gone, as
// a reloaded window does.
func (s *Session) Return(ctx context.Context, gateway *Helper) error {
	s.Gateway = gateway
	switch o, err := s.open(ctx); {
	case err != nil:
		return err
	case !o.Resumed || o.Session != s.ID || o.Secret != s.Secret:
		return errors.New("another session was opened")
	}
	return nil
}

// Join makes capture open the session, for the first time or again.
func (s *Session) Join(ctx context.Context, capture *Helper, resumed bool) error {
	s.Capture = capture
	params := map[string]any{"session": s.ID, "secret": s.Secret, "resumed": resumed, "resumeSeconds": s.settings.ResumeSeconds}
	if s.settings.Sources != "" {
		params["sources"] = json.RawMessage(s.settings.Sources)
	}
	return capture.Call(ctx, "session/open", params, nil)
}

// Link makes a new command link, which replaces the one before.
func (s *Session) Link(ctx context.Context) error {
	ends := []*Helper{s.Capture, s.Gateway}
	if err := s.Lose(ctx, "another comes"); err != nil {
		return err
	}
	replies := []chan reply{make(chan reply, 1), make(chan reply, 1)}
	both := make(chan struct{}) // have been asked
	var failed error
	for i, h := range ends {
		other := ends[1-i]
		// Frames belong to the new link if they come after the reply.
		failed = errors.Join(failed, h.begin("link/open", map[string]string{"kind": "command"}, func(m reply) {
			<-both
			h.mu.Lock()
			h.frames = func(b []byte) {
				s.Carried.Add(int64(len(b)))
				_ = other.write("Content-Type: application/octet-stream\r\n", b)
			}
			h.mu.Unlock()
			replies[i] <- m
		}))
	}
	close(both)
	for i, h := range ends {
		if failed == nil {
			failed = h.await(ctx, "link/open", replies[i], nil)
		}
	}
	return failed
}

// Lose ends the command link, as the loss of the connection does.
func (s *Session) Lose(ctx context.Context, reason string) error {
	s.Cut()
	for _, h := range []*Helper{s.Capture, s.Gateway} {
		// No frame of the link comes after the reply.
		if err := h.Call(ctx, "link/close", map[string]string{"reason": reason}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Cut silently drops all frames that the helpers send over the command link.
func (s *Session) Cut() {
	for _, h := range []*Helper{s.Gateway, s.Capture} {
		h.mu.Lock()
		h.frames = nil
		h.mu.Unlock()
	}
}

// Listen makes the capture open its port for direct links.
func (s *Session) Listen(ctx context.Context) (port int, err error) {
	var p struct{ Port int }
	err = s.Capture.Call(ctx, "link/listen", nil, &p)
	return p.Port, err
}

// Dial makes the gateway keep direct links to port.
func (s *Session) Dial(ctx context.Context, port int) error {
	return s.Gateway.Call(ctx, "link/dial", map[string]int{"port": port}, nil)
}

// Status is the gateway's report about the session.
type Status struct {
	State  string
	Reason string
	Proxy  string
	Flows  int
	Link   struct {
		Kind  string
		Links int
	}
	Resources []struct {
		Name, State, Note string
		Served            []string
	}
}

// Told returns the last status that the helper sent without being asked.
func (h *Helper) Told() (st Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = json.Unmarshal(h.status, &st)
	return st
}

// Status asks the gateway.
func (s *Session) Status(ctx context.Context) (Status, error) {
	var st Status
	return st, s.Gateway.Call(ctx, "session/status", nil, &st)
}

// Reach waits until is accepts the gateway's state and kind of link.
func (s *Session) Reach(ctx context.Context, is func(state, link string) bool) error {
	for {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if is(st.State, st.Link.Kind) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the session is %s by %q: %w", st.State, st.Link.Kind, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close ends the session and both helpers.
func (s *Session) Close() error {
	return errors.Join(s.Gateway.Close(), s.Capture.Close())
}
