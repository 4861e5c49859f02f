package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/hashicorp/yamux"
)

// Stream is one flow's way through the tunnel. It is a net.Conn with a
// half-close, a reset and, before any data, an answer. On a UDP flow every Write
// sends one datagram, which is dropped if the peer cannot take it, and every Read
// returns one.
type Stream struct {
	s        *Session
	raw      raw
	req      Request
	acceptor bool

	writeMu sync.Mutex  // one Write at a time
	moved   atomic.Bool // data came since the last Session.tidy
	ports   atomic.Bool // the peer knows msgRefused and msgPort

	mu   sync.Mutex
	cond sync.Cond // on mu: any of the fields below changed

	answered bool
	answer   Error // valid once answered
	replied  bool
	refused  bool // replied with a code other than Connected

	queue      []*netx.Chunk
	lent       int       // content of the chunk that ReadChunk handed out last
	lentCap    int       // its memory; 0: none is out
	window     int       // bytes that the peer may have sent and we have not consumed
	unread     int       // received and not consumed, in bytes of content
	consumed   int       // since the last grant
	starved    bool      // the peer has run out of credit
	since      time.Time // when the bytes of taken began to be counted
	taken      int       // consumed since then
	readEnded  bool      // the peer's orderly end is behind the queue
	noted      bool      // a read is to return ErrRefused
	credit     int       // what we may still send
	writeEnded bool
	closed     bool
	reading    bool  // the body of a message comes
	err        error // reset, by either side, or the session's end

	readDeadline, writeDeadline deadline

	onEnd func() // called when err is set; may be nil
}

var (
	_ net.Conn         = (*Stream)(nil)
	_ netx.ChunkReader = (*Stream)(nil)
	_ netx.ChunkWriter = (*Stream)(nil)
)

func newStream(s *Session, y *yamux.Stream, req Request) *Stream {
	st := &Stream{s: s, raw: raw{y, s.police}, window: initialWindow, credit: initialWindow}
	st.cond.L = &st.mu
	st.setRequest(req)
	return st
}

// setRequest makes req the flow's header. The window of a UDP flow holds several of
// the largest datagrams from the start, because datagrams cannot be divided.
func (st *Stream) setRequest(req Request) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.req = req
	if st.datagrams() && st.err == nil { // the session may end meanwhile
		st.window, st.credit = datagramWindow, datagramWindow
		st.s.ledger.Reserve(datagramWindow - initialWindow)
	}
}

// OnEnd calls f once, in a goroutine of its own, when either side aborts the flow or
// its session ends. If that has happened already, it calls f at once.
func (st *Stream) OnEnd(f func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		go f()
		return
	}
	st.onEnd = f
}

// Request is the flow's header.
func (st *Stream) Request() Request { return st.req }

// Answer waits for the gateway's answer to a flow that this end opened. It
// returns the reason that came with Connected, or an *Error. If ctx ends first,
// the flow is reset.
func (st *Stream) Answer(ctx context.Context) (string, error) {
	stop := context.AfterFunc(ctx, func() { st.Reset("no longer wanted") })
	defer stop()
	st.mu.Lock()
	defer st.mu.Unlock()
	for !st.answered && st.err == nil {
		st.cond.Wait()
	}
	if !st.answered {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", st.err
	}
	if st.answer.Code != Connected {
		e := st.answer
		return "", &e
	}
	return st.answer.Reason, nil
}

// Reply answers a flow that this end accepted, once and before any Write. After
// a code other than Connected only Close is left to do.
func (st *Stream) Reply(code Code, reason string) error {
	st.mu.Lock()
	done := st.replied
	st.replied = true
	if code != Connected {
		st.refused, st.writeEnded, st.readEnded = true, true, true
	}
	st.mu.Unlock()
	if done {
		return errors.New("reply to flow: answered already")
	}
	return st.send(msgAnswer, appendAnswer(nil, code, reason))
}

// CloseWrite ends this direction in order: the peer reads io.EOF after the data.
func (st *Stream) CloseWrite() error {
	st.writeMu.Lock()
	defer st.writeMu.Unlock()
	st.mu.Lock()
	err, done := st.err, st.writeEnded
	st.writeEnded = true
	st.cond.Broadcast()
	st.mu.Unlock()
	if err != nil || done {
		return err
	}
	return st.send(msgEnd, nil)
}

// Reset aborts the flow in both directions. The peer sees the reset at once, before
// any data that it has not read.
func (st *Stream) Reset(reason string) {
	if st.fail(&Error{Code: Reset, Reason: "reset by this side: " + reason}) {
		// The goroutine below closes the stream, even if Close is called before the
		// message has been sent.
		st.mu.Lock()
		st.closed = true
		st.mu.Unlock()
		// A write may wait for the carrier. The caller must not.
		st.s.spawn(func() {
			_ = st.send(msgReset, appendAnswer(nil, Reset, reason))
			_ = st.raw.Close()
		})
	}
}

// Close releases the stream. Unless both directions have ended in order it
// resets the flow.
func (st *Stream) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil
	}
	st.closed = true
	orderly := st.err == nil && st.writeEnded && st.readEnded && len(st.queue) == 0
	ended := st.err != nil
	st.mu.Unlock()
	if !orderly && !ended {
		st.Reset("closed")
		return nil
	}
	st.fail(net.ErrClosed)
	st.s.spawn(func() { _ = st.raw.Close() })
	return nil
}

// fail ends the stream with err and drops what it holds. It returns false if the
// stream had ended before.
func (st *Stream) fail(err error) bool {
	st.mu.Lock()
	if st.err != nil {
		st.mu.Unlock()
		return false
	}
	st.err = err
	held := st.lentCap
	st.lentCap = 0
	for _, c := range st.queue {
		held += c.Cap()
		c.Release()
	}
	st.queue = nil
	if st.onEnd != nil {
		go st.onEnd()
		st.onEnd = nil
	}
	extra := st.window - initialWindow
	st.window = initialWindow
	if st.reading {
		_ = st.raw.SetReadDeadline(time.Unix(1, 0)) // wakes readBody, which gives its memory back
	}
	st.cond.Broadcast()
	st.mu.Unlock()
	if held > 0 {
		st.s.ledger.release(st, held)
	}
	st.s.ledger.ended(st)
	st.s.ledger.Reserve(-extra)
	return true
}

// LocalAddr returns a placeholder: a flow has no address inside the tunnel.
func (st *Stream) LocalAddr() net.Addr { return addr{"tunnel"} }

// RemoteAddr returns the flow's target.
func (st *Stream) RemoteAddr() net.Addr { return addr{st.req.Target.String()} }

type addr struct{ s string }

func (addr) Network() string  { return "causeway" }
func (a addr) String() string { return a.s }

// SetDeadline sets both deadlines.
func (st *Stream) SetDeadline(t time.Time) error {
	_ = st.SetReadDeadline(t)
	return st.SetWriteDeadline(t)
}

// SetReadDeadline bounds Read, as for any net.Conn.
func (st *Stream) SetReadDeadline(t time.Time) error { return st.setDeadline(&st.readDeadline, t) }

// SetWriteDeadline bounds Write, as for any net.Conn.
func (st *Stream) SetWriteDeadline(t time.Time) error { return st.setDeadline(&st.writeDeadline, t) }

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (st *Stream) setDeadline(d *deadline, t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.cond.Broadcast()
		})
	}
	st.cond.Broadcast()
	return nil
}

// readRequest reads the first message of an accepted stream.
func (st *Stream) readRequest() error {
	t, length, err := st.readHeader()
	if err != nil {
		return err
	}
	if t != msgRequest {
		return breachf("stream starts with message type %d", t)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(&st.raw, b); err != nil {
		return err
	}
	req, flags, err := parseRequest(b)
	if err == nil {
		st.setRequest(req)
		st.ports.Store(flags&knowsPorts != 0)
	}
	return err
}

func (st *Stream) readHeader() (messageType, int, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(&st.raw, h[:]); err != nil {
		return 0, 0, err
	}
	t, length, err := parseHeader(h)
	if err != nil {
		return 0, 0, breachf("%v", err)
	}
	return t, length, nil
}

// send writes one small message, whole.
func (st *Stream) send(t messageType, body []byte) error {
	b := make([]byte, 0, headerSize+len(body))
	h := header(t, len(body))
	_, err := st.raw.Write(append(append(b, h[:]...), body...))
	return err
}

func (st *Stream) sendCredit(n int) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	_ = st.send(msgCredit, b[:])
}

var (
	errDeadline   = os.ErrDeadlineExceeded
	errWriteEnded = errors.New("this direction has been closed")
	errTooLong    = errors.New("datagram is too long")
)
