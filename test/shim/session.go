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
	// Carried counts the bytes that were passed between them.
	Carried  atomic.Int64
	settings Settings
}

// Settings are those of an editor, and the credentials of proxies that it keeps:
// JSON, of which all but Resources may be empty.
type Settings struct {
	Resources, Exits, Credentials string
	Sources                       string // of the capture
	// ResumeSeconds is how long the session waits for a link; 0 is the default.
	ResumeSeconds int
}

// Open opens a session, approves all that its settings ask for, once, and joins
// its ends by a command link. Both helpers have to be without one.
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

// opened is what a gateway answers.
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

// Return has gateway drive the session in place of one that is gone, as a window
// does that was reloaded.
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

// Join has capture open the session, as it is or anew.
func (s *Session) Join(ctx context.Context, capture *Helper, resumed bool) error {
	s.Capture = capture
	params := map[string]any{"session": s.ID, "secret": s.Secret, "resumed": resumed, "resumeSeconds": s.settings.ResumeSeconds}
	if s.settings.Sources != "" {
		params["sources"] = json.RawMessage(s.settings.Sources)
	}
	return capture.Call(ctx, "session/open", params, nil)
}

// Link lays a new command link, which takes the place of the one before.
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
		// Frames after the reply belong to the new link, and only those.
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

// Lose ends the command link, as its loss does.
func (s *Session) Lose(ctx context.Context, reason string) error {
	s.Cut()
	for _, h := range []*Helper{s.Capture, s.Gateway} {
		// After the reply nothing of it comes.
		if err := h.Call(ctx, "link/close", map[string]string{"reason": reason}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Cut drops what the helpers send over the command link from now on, silently.
func (s *Session) Cut() {
	for _, h := range []*Helper{s.Gateway, s.Capture} {
		h.mu.Lock()
		h.frames = nil
		h.mu.Unlock()
	}
}

// Listen has the capture open its port for direct links.
func (s *Session) Listen(ctx context.Context) (port int, err error) {
	var p struct{ Port int }
	err = s.Capture.Call(ctx, "link/listen", nil, &p)
	return p.Port, err
}

// Dial has the gateway keep direct links by port.
func (s *Session) Dial(ctx context.Context, port int) error {
	return s.Gateway.Call(ctx, "link/dial", map[string]int{"port": port}, nil)
}

// Status is what the gateway says of the session.
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

// Told is the status that the helper told last by itself.
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

// Reach waits until the gateway's state and kind of link are as is says.
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
