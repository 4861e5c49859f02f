// Package daemon keeps one helper of each role running for a user, behind
// processes that come and go. The process that an editor or ssh starts is a shim:
// it attaches to the helper in the background over a Unix socket, or starts it,
// and passes bytes on.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	maxConns    = 64
	maxGreeting = 4 << 10
	maxAnswer   = 4 << 20 // 32 sessions of some thousand resources
	greetTime   = 5 * time.Second
	idleTime    = time.Second
	endTime     = 6 * time.Second // that the handler has to end what it serves
)

// ErrRunning means that this user already has a helper of that role.
var ErrRunning = errors.New("a helper is running already")

// Options describes a helper in the background. Role is required.
type Options struct {
	Role    string // "gateway" or "capture"
	Dir     string // private to the user; "" means DefaultDir
	Version string // of the program; a shim of another version replaces a helper that has no sessions
	Log     zerolog.Logger
	Idle    time.Duration // after which a helper without shims and sessions ends; 0 means 1 s

	reap time.Duration // how long a shim waits until nobody needs its helper; 0 means 500 ms
}

func (o Options) path(suffix string) string { return filepath.Join(o.Dir, o.Role+suffix) }

// Handler is the helper in the background.
type Handler interface {
	// Start is called first, when this process has become the helper.
	Start()
	// Serve serves one shim until its bytes end, or ctx. It may close c. SetLevel
	// changes the level of the log lines that this shim gets.
	Serve(ctx context.Context, c net.Conn, setLevel func(level string) error)
	// Sessions lists the helper's sessions. The helper stays while it has one.
	Sessions() []Session
	// End ends a session and returns when it is cleaned up.
	End(id string) error
}

// Session describes a session. It holds no secret.
type Session struct {
	ID        string          `json:"id"`
	State     string          `json:"state"`               // as in the protocol: "connected", "reconnecting", …
	Link      string          `json:"link,omitempty"`      // kind of the link
	Authority string          `json:"authority,omitempty"` // the gateway's: what the editor calls the remote
	Workspace string          `json:"workspace,omitempty"`
	Since     time.Time       `json:"since"`
	Driven    bool            `json:"driven"`           // whether an editor or connect is there
	Status    json.RawMessage `json:"status,omitempty"` // the whole state, as in the protocol
}

// Modes: each says what the shim asks for.
const (
	modeServe  = "serve"
	modeLog    = "log"
	modeList   = "list"
	modeEnd    = "end"
	modeRetire = "retire"
)

// greeting is the first line on a connection.
type greeting struct {
	Mode    string `json:"mode"`
	Version string `json:"version"`
	Shim    string `json:"shim,omitempty"`  // the same on all connections of a shim
	Level   string `json:"level,omitempty"` // of the log lines that the shim gets
	ID      string `json:"id,omitempty"`    // of the session to end
}

// answer is the line that comes back.
type answer struct {
	Error    string    `json:"error,omitempty"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Routines int       `json:"goroutines"`
	Sessions []Session `json:"sessions"`
}

type server struct {
	o       Options
	h       Handler
	hub     *Hub
	started time.Time
	slots   chan struct{}
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	left    chan struct{} // the last shim has left
	serving int           // shims
	ending  bool          // takes no more shims
	refused int
}

// Serve runs the helper in the background: it answers shims until nobody has
// needed it for Options.Idle, or ctx ends. It returns ErrRunning if another
// process is that helper.
func Serve(ctx context.Context, o Options, h Handler, hub *Hub) error {
	p, err := o.take()
	if err != nil {
		return err
	}
	o = p.o
	defer func() { p.leave() }()
	h.Start()
	s := &server{o: o, h: h, hub: hub, started: time.Now(), slots: make(chan struct{}, maxConns), left: make(chan struct{}, 1)}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.wg.Wait()
	defer s.stop()
	s.wg.Go(func() { s.watch(ctx) })
	for {
		var watching sync.WaitGroup
		watching.Go(func() { p.watch(ctx) })
		s.accept(ctx, p.ln)
		watching.Wait()
		if ctx.Err() != nil {
			return nil
		}
		if err := p.again(); err != nil {
			o.Log.Warn().Err(err).Msg("something has removed the helper's socket: shims no longer find this helper")
			<-ctx.Done()
			return nil
		}
		o.Log.Info().Msg("something has removed the helper's socket: it is there again")
	}
}

// enter counts a shim, unless the helper is about to end.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.serving++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving--; s.serving == 0 {
		select {
		case s.left <- struct{}{}:
		default:
		}
	}
}

// retire ends the helper if nobody needs it. It reports whether the helper ends.
func (s *server) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving == 0 && len(s.h.Sessions()) == 0 {
		s.ending = true
		s.stop()
	}
	return s.ending
}

// watch ends a helper that nobody has needed for Options.Idle.
func (s *server) watch(ctx context.Context) {
	since := time.Now()
	tick := time.NewTicker(min(s.o.Idle/4, time.Second))
	defer tick.Stop()
	for {
		s.mu.Lock()
		driven := s.serving > 0
		s.mu.Unlock()
		look := tick.C
		if driven {
			look = nil // leave says when to look again
		}
		select {
		case <-ctx.Done():
			return
		case <-s.left:
			since = time.Now()
			continue
		case <-look:
		}
		if len(s.h.Sessions()) > 0 {
			since = time.Now()
		} else if time.Since(since) > s.o.Idle && s.retire() {
			return
		}
	}
}

func (s *server) serve(ctx context.Context, c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	refuse := func(err error) {
		s.mu.Lock()
		s.refused++
		n := s.refused
		s.mu.Unlock()
		s.o.Log.Warn().Err(err).Int("refused", n).Msg("shim refused")
	}
	if err := checkPeer(c); err != nil {
		refuse(err)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(greetTime))
	var g greeting
	if err := readLine(c, &g, maxGreeting); err != nil {
		refuse(err)
		return
	}
	if g.Mode == modeServe {
		if !s.enter() {
			return
		}
		defer s.leave()
	}
	var lines *listener
	if g.Mode == modeLog {
		lines = s.hub.listen(g.Shim) // before the answer, so that the shim gets every line after it
		defer s.hub.leave(lines)
	}
	a := s.answer(c, g)
	if a.Error == "" && g.Mode == modeRetire && !s.retire() {
		a.Error = "it is needed"
	}
	if writeLine(c, a) != nil || a.Error != "" {
		return
	}
	_ = c.SetDeadline(time.Time{})
	stop()
	switch g.Mode {
	case modeServe:
		s.h.Serve(ctx, c, func(level string) error { return s.hub.setLevel(g.Shim, level) })
	case modeLog:
		s.hub.serve(ctx, c, lines)
	}
}

// answer does what g asks for, and describes this helper.
func (s *server) answer(c net.Conn, g greeting) answer {
	a := answer{Version: s.o.Version, PID: os.Getpid(), Started: s.started, Routines: runtime.NumGoroutine()}
	var err error
	switch g.Mode {
	case modeServe, modeLog:
		if g.Level != "" {
			err = s.hub.setLevel(g.Shim, g.Level)
		}
	case modeEnd:
		_ = c.SetDeadline(time.Now().Add(endTime))
		err = s.h.End(g.ID)
	case modeList, modeRetire:
	default:
		err = fmt.Errorf("unknown mode %.20q", g.Mode)
	}
	if err != nil {
		a.Error = err.Error()
	}
	a.Sessions = s.h.Sessions()
	if g.Mode != modeList {
		for i := range a.Sessions {
			a.Sessions[i].Status = nil
		}
	}
	return a
}

// readLine reads a line of JSON. It reads byte by byte, since the bytes after the
// line are not its own.
func readLine(c net.Conn, v any, most int) error {
	line := make([]byte, 0, 256)
	var b [1]byte
	for len(line) < most {
		if _, err := c.Read(b[:]); err != nil {
			return fmt.Errorf("read greeting: %w", err)
		}
		if b[0] == '\n' {
			if err := json.Unmarshal(line, v); err != nil {
				return fmt.Errorf("read greeting: %w", err)
			}
			return nil
		}
		line = append(line, b[0])
	}
	return errors.New("read greeting: too long")
}

func writeLine(c net.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return err
}
