// Package tunnel carries many flows over one reliable byte stream: yamux below,
// and above it a request and an answer for each flow, credit, orderly ends and
// resets, as spec.md states. It neither judges nor dials.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"
)

// EarlyMax is how much data can go along with a request, in bytes.
const EarlyMax = initialWindow

const (
	defaultBudget   = 24 << 20
	defaultMaxFlows = 4096
	requestTimeout  = 4 * time.Hour // the link may be cut between a stream's opening and its request
	idleAfter       = 2 * time.Second
)

// Options tunes a Session. The zero value is ready for use.
type Options struct {
	Log zerolog.Logger

	// Budget bounds what all flows together buffer, in bytes; 0 means 24 MiB.
	// When stalled flows would exceed it, the most stalled is reset.
	Budget int

	// Carrier tells what is below the connection; nil if nobody knows.
	Carrier Carrier

	// MaxFlows bounds the flows that the peer may have open; 0 means 4096.
	MaxFlows int
}

// Carrier is what a Session knows of the links below its connection.
type Carrier interface {
	// RoundTrip is how long an answer of the peer takes without a queue, 0 if
	// that is not known: windows grow only where that is what a flow waits for.
	RoundTrip() time.Duration
	// Brief is how many bytes go in a moment that nobody minds waiting, 0 if that is
	// not known: one flow's data is cut so that others need not wait for it.
	Brief() int
}

// unknown is a Carrier that nothing is known of.
type unknown struct{}

func (unknown) RoundTrip() time.Duration { return 0 }
func (unknown) Brief() int               { return 0 }

// Session is one end of a tunnel.
type Session struct {
	log      zerolog.Logger
	mux      *yamux.Session
	server   bool
	budget   *budget
	maxFlows int
	carrier  Carrier

	accepted chan *Stream
	controls chan *Stream
	done     chan struct{}
	wg       sync.WaitGroup

	mu      sync.Mutex
	streams map[*Stream]struct{}
	tidying bool  // tidy runs, or will
	err     error // why the session ended; set before done is closed
}

// Client starts the end that opens flows, the capture's, over conn and becomes
// conn's owner.
func Client(conn net.Conn, o Options) (*Session, error) { return newSession(conn, o, false) }

// Server starts the end that accepts flows, the gateway's, over conn and
// becomes conn's owner.
func Server(conn net.Conn, o Options) (*Session, error) { return newSession(conn, o, true) }

func newSession(conn net.Conn, o Options, server bool) (*Session, error) {
	c := yamux.DefaultConfig()
	// The carrier below may be silent for hours while it waits for a link: it
	// has a heartbeat of its own, and ends when it gives up.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 4 * time.Hour
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 4 * time.Hour // as long as a session may wait for a link: what is under way must not be cut off
	c.AcceptBacklog = 4096
	// Flow control is the credit above yamux: its readers never wait.
	c.MaxStreamWindowSize = 2 * maxWindow
	c.LogOutput = nil
	c.Logger = muxLogger{o.Log}
	start := yamux.Client
	if server {
		start = yamux.Server
	}
	s := &Session{
		log: o.Log, server: server, maxFlows: o.MaxFlows,
		budget:   newBudget(o.Budget),
		accepted: make(chan *Stream), controls: make(chan *Stream, 1),
		done: make(chan struct{}), streams: make(map[*Stream]struct{}),
	}
	if s.maxFlows == 0 {
		s.maxFlows = defaultMaxFlows
	}
	if s.carrier = o.Carrier; s.carrier == nil {
		s.carrier = unknown{}
	}
	// Held until mux is set: end needs it, and can come with the first read.
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.mux, err = start(&guard{conn, s}, c); err != nil {
		return nil, fmt.Errorf("start multiplexer: %w", err)
	}
	s.wg.Add(1)
	go s.acceptLoop()
	return s, nil
}

// Open sends a request with early data, which is copied and at most EarlyMax
// bytes long, and returns without waiting for the answer. It fails only if the
// session or ctx has ended.
func (s *Session) Open(ctx context.Context, req Request, early []byte) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(early) > EarlyMax {
		return nil, fmt.Errorf("open flow: %d bytes of early data, at most %d allowed", len(early), EarlyMax)
	}
	b := make([]byte, headerSize, headerSize+128+headerSize+len(early))
	b, err := appendRequest(b, req)
	if err != nil {
		return nil, fmt.Errorf("open flow: %w", err)
	}
	h := header(msgRequest, len(b)-headerSize)
	copy(b, h[:])
	if len(early) > 0 {
		h = header(msgData, len(early))
		b = append(append(b, h[:]...), early...)
	}
	raw, err := s.mux.OpenStream()
	if err != nil {
		return nil, s.closedError(err)
	}
	st := newStream(s, raw, req)
	st.credit -= len(early)
	if !s.add(st) {
		_ = raw.Close()
		return nil, s.closedError(net.ErrClosed)
	}
	if _, err := raw.Write(b); err != nil {
		st.fail(s.closedError(err))
		s.wg.Done()
		s.remove(st)
		_ = raw.Close()
		return nil, s.closedError(err)
	}
	go st.receive()
	return st, nil
}

// Accept returns the next flow that the peer opened, its request read. After
// the session's end it returns an error that is net.ErrClosed.
func (s *Session) Accept() (*Stream, error) {
	select {
	case st := <-s.accepted:
		return st, nil
	case <-s.done:
		return nil, s.closedError(net.ErrClosed)
	}
}

// Control returns the one stream that belongs to the two helpers themselves:
// the server opens it, the client waits for it.
func (s *Session) Control(ctx context.Context) (*Stream, error) {
	if s.server {
		st, err := s.Open(ctx, Request{Target: Target{Network: control}}, nil)
		if err != nil {
			return nil, err
		}
		_, err = st.Answer(ctx)
		return st, err
	}
	select {
	case st := <-s.controls:
		return st, st.Reply(Connected, "")
	case <-s.done:
		return nil, s.closedError(net.ErrClosed)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Flows is the number of streams that are open, the control stream included.
func (s *Session) Flows() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ended; nil before that.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session: every flow fails, the connection below is closed,
// and all goroutines have ended when it returns.
func (s *Session) Close() error {
	s.end(net.ErrClosed)
	s.wg.Wait()
	return nil
}

// end records the first reason and takes everything down without waiting.
func (s *Session) end(reason error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = reason
	streams := make([]*Stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.wg.Add(1)
	s.mu.Unlock()
	close(s.done)
	for _, st := range streams {
		st.fail(s.closedError(reason))
		_ = st.raw.SetReadDeadline(time.Unix(1, 0)) // see guard
	}
	go func() {
		defer s.wg.Done()
		_ = s.mux.Close()
	}()
}

// spawn runs f in a goroutine that Close waits for; not at all after the
// session's end.
func (s *Session) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.wg.Go(f)
}

func (s *Session) closedError(err error) error {
	if cause := s.Err(); cause != nil {
		err = cause
	}
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", net.ErrClosed, err)
}

// add registers a stream whose receive goroutine is about to start; false
// after the session's end.
func (s *Session) add(st *Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.streams[st] = struct{}{}
	s.budget.reserve(initialWindow)
	s.wg.Add(1)
	return true
}

func (s *Session) remove(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.streams[st]; ok {
		delete(s.streams, st)
		s.budget.unreserve(initialWindow)
	}
}

func (s *Session) acceptLoop() {
	defer s.wg.Done()
	for {
		raw, err := s.mux.AcceptStream()
		if err != nil {
			s.end(err)
			return
		}
		st := newStream(s, raw, Request{})
		st.acceptor = true
		over := s.Flows() >= s.maxFlows
		if !s.add(st) {
			_ = raw.Close()
			continue
		}
		go s.admit(st, over)
	}
}

// admit reads a new stream's request, hands the stream to Accept or Control,
// and then receives for it.
func (s *Session) admit(st *Stream, over bool) {
	_ = st.raw.SetReadDeadline(time.Now().Add(requestTimeout))
	err := st.readRequest()
	_ = st.raw.SetReadDeadline(time.Time{})
	if err == nil && over {
		err = &Error{Code: Overloaded, Reason: "too many open flows"}
		_ = st.Reply(Overloaded, "too many open flows")
	}
	isControl := st.req.Target.Network == control
	if err == nil && isControl == s.server {
		err = errors.New("this end does not accept that kind of stream")
	}
	if err != nil {
		s.log.Debug().Err(err).Msg("stream refused")
		st.Reset(err.Error())
		_ = st.Close()
		st.receive()
		return
	}
	if isControl {
		select {
		case s.controls <- st:
		default:
			st.Reset("there is a control stream already")
			_ = st.Close()
		}
	} else {
		s.hand(st)
	}
	st.receive()
}

// hand gives st to Accept, without waiting for that.
func (s *Session) hand(st *Stream) {
	select {
	case s.accepted <- st:
		return
	default:
	}
	s.spawn(func() {
		select {
		case s.accepted <- st:
		case <-s.done:
			_ = st.Close()
		}
	})
}
