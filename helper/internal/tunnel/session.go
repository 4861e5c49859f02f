// Package tunnel carries many flows over one reliable byte stream: yamux below,
// and above it a request and an answer for each flow, credit, orderly ends and
// resets, as spec.md states. It makes no policy decisions and dials nothing.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"
)

// EarlyMax is how much data can go along with a request, in bytes.
const EarlyMax = initialWindow

const (
	defaultMaxFlows = 4096
	acceptBacklog   = 4096
	yamuxWindow     = 1 << 30         // of a stream, in bytes: flow control is the credit above yamux
	requestTime     = time.Minute     // from a stream's opening to its request, while a link moves
	requestTick     = 5 * time.Second // in which that time is counted
	idleAfter       = 2 * time.Second
)

var errMemory = errors.New("its streams took most of the memory that this helper has for all sessions")

// Options tunes a Session. The zero value is ready for use.
type Options struct {
	Log zerolog.Logger

	// Memory is this session's part of the memory that several share; nil means a
	// part of netx.Process. If memory is short, the session that holds the most resets
	// the flow that has been stalled for longest. If it has none, it ends.
	Memory *netx.Share

	// Carrier tells what is below the connection; nil if nobody knows.
	Carrier Carrier

	// MaxFlows bounds the flows that either side may have open; 0 means 4096.
	MaxFlows int
}

// Carrier is what a Session knows of the links below its connection.
type Carrier interface {
	// RoundTrip is how long an answer of the peer takes without a queue, 0 if that
	// is not known. A window grows only if this time is what its flow waits for.
	RoundTrip() time.Duration
	// Brief is how many bytes the links carry in about 1 ms, 0 if that is not known.
	// One flow's message has no more data, so that other flows do not wait for it.
	Brief() int
	// Moving returns a channel that is closed while what is written gets through.
	// Otherwise the channel is closed once it does again.
	Moving() <-chan struct{}
}

// unknown is a Carrier of which nothing is known.
type unknown struct{}

func (unknown) RoundTrip() time.Duration { return 0 }
func (unknown) Brief() int               { return 0 }
func (unknown) Moving() <-chan struct{}  { return moving }

var moving = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Session is one end of a tunnel.
type Session struct {
	log      zerolog.Logger
	mux      *yamux.Session
	police   *police
	server   bool
	ledger   *ledger
	maxFlows int
	carrier  Carrier

	accepted chan *Stream
	controls chan *Stream
	done     chan struct{}
	quiet    chan struct{} // closed when the session has ended and no stream reads from yamux
	wg       sync.WaitGroup

	mu       sync.Mutex
	streams  map[*Stream]struct{}
	waiting  map[*Stream]time.Duration // streams without a request, and how long links have moved since
	counting bool                      // countRequests runs, or will
	openings []*opening                // to be opened, the oldest first
	opening  bool                      // openAll runs
	unwanted bool                      // nobody waits for what openAll is opening
	tidying  bool                      // tidy runs, or will
	err      error                     // why the session ended; set before done is closed
}

// Client starts the end that opens flows, the capture's, over conn and becomes
// conn's owner.
func Client(conn net.Conn, o Options) (*Session, error) { return newSession(conn, o, false) }

// Server starts the end that accepts flows, the gateway's, over conn and
// becomes conn's owner.
func Server(conn net.Conn, o Options) (*Session, error) { return newSession(conn, o, true) }

func newSession(conn net.Conn, o Options, server bool) (*Session, error) {
	c := yamux.DefaultConfig()
	// The carrier below may be silent for hours while it waits for a link. It
	// has a heartbeat of its own, and ends when it gives up.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 4 * time.Hour
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 4 * time.Hour // longer than a session waits for a link, so that nothing under way is cut off
	c.AcceptBacklog = acceptBacklog
	c.MaxStreamWindowSize = yamuxWindow
	c.LogOutput = nil
	c.Logger = muxLogger{o.Log}
	start := yamux.Client
	if server {
		start = yamux.Server
	}
	s := &Session{
		log: o.Log, server: server, maxFlows: o.MaxFlows,
		accepted: make(chan *Stream), controls: make(chan *Stream, 1),
		done: make(chan struct{}), quiet: make(chan struct{}), streams: make(map[*Stream]struct{}), waiting: make(map[*Stream]time.Duration),
	}
	if s.maxFlows == 0 {
		s.maxFlows = defaultMaxFlows
	}
	if s.carrier = o.Carrier; s.carrier == nil {
		s.carrier = unknown{}
	}
	if o.Memory == nil {
		o.Memory = netx.Process.Share(func() { s.end(errMemory) })
	}
	s.ledger = newLedger(o.Memory, func() bool { return s.shed(0) })
	s.police = newPolice(server, s.maxFlows, s.ledger.Account)
	// The lock is held until mux is set: end needs mux, and the first read may call end.
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.mux, err = start(&guard{Conn: conn, s: s}, c); err != nil {
		s.ledger.Close()
		return nil, fmt.Errorf("start multiplexer: %w", err)
	}
	s.wg.Add(1)
	go s.acceptLoop()
	return s, nil
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

// over tells whether the session has ended.
func (s *Session) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Close ends the session: every flow fails, the connection below is closed,
// and all goroutines have ended when it returns.
func (s *Session) Close() error {
	s.end(net.ErrClosed)
	s.wg.Wait()
	s.ledger.Close()
	return nil
}

// end records the first reason and takes everything down. It returns when no stream
// reads from yamux any more, but does not wait for goroutines.
func (s *Session) end(reason error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		<-s.quiet
		return
	}
	s.err = reason
	failure := s.closedErrorLocked(reason)
	streams := make([]*Stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.wg.Add(1)
	s.mu.Unlock()
	close(s.done)
	s.police.end()
	if _, broken := errors.AsType[*breach](reason); broken {
		s.log.Warn().Err(reason).Msg("session ended")
	}
	for _, st := range streams {
		_ = st.raw.SetReadDeadline(time.Unix(1, 0)) // see guard
		st.fail(failure)
	}
	close(s.quiet)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closedErrorLocked(err)
}

func (s *Session) closedErrorLocked(err error) error {
	if s.err != nil {
		err = s.err
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
	s.ledger.Hold(flowCost)
	s.ledger.Reserve(initialWindow)
	s.wg.Add(1)
	return true
}

func (s *Session) remove(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.streams[st]; ok {
		delete(s.streams, st)
		delete(s.waiting, st)
		s.ledger.Hold(-flowCost)
		s.ledger.Reserve(-initialWindow)
	}
}
