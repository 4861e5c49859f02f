package tunnel

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/hashicorp/yamux"
)

// maxDatagrams is how many datagrams of a flow wait for their reader at most: empty
// ones take no credit, but each takes memory.
const maxDatagrams = 1024

// receive takes everything off the multiplexer at once, so that no flow holds up
// another. It returns when the peer has closed the stream. It runs in the stream's
// own goroutine.
func (st *Stream) receive() {
	defer st.s.wg.Done()
	defer st.s.remove(st)
	for {
		err := st.receiveOne()
		if err == nil {
			continue
		}
		if offence, ok := errors.AsType[*breach](err); ok {
			st.s.end(offence)
		}
		if errors.Is(err, io.EOF) {
			err = &Error{Code: Reset, Reason: "closed by the other side"}
		} else {
			err = st.s.closedError(err)
		}
		st.mu.Lock()
		orderly := st.readEnded && st.writeEnded
		st.mu.Unlock()
		// After an orderly end the program may still read what has arrived.
		if !orderly {
			st.fail(err)
		}
		_ = st.raw.Close()
		return
	}
}

func (st *Stream) receiveOne() error {
	t, length, err := st.readHeader()
	if err != nil {
		return err
	}
	switch t {
	case msgData, msgStarved:
		return st.receiveData(length, t == msgStarved, 0)
	case msgPort:
		return st.receivePort(length)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(&st.raw, b); err != nil {
		return err
	}
	switch t {
	case msgAnswer, msgReset:
		code, reason, err := parseAnswer(b)
		if err != nil {
			return breachf("%v", err)
		}
		if t == msgReset {
			st.fail(&Error{Code: Reset, Reason: reason})
			_ = st.raw.Close()
			return nil
		}
		return st.receiveAnswer(code, reason)
	case msgEnd:
		st.mu.Lock()
		st.readEnded = true
		st.cond.Broadcast()
		st.mu.Unlock()
	case msgRefused:
		if st.acceptor || !st.datagrams() {
			return breachf("a refused datagram is out of place")
		}
		st.mu.Lock()
		st.noted = true
		st.cond.Broadcast()
		st.mu.Unlock()
	case msgCredit:
		if len(b) != 4 {
			return breachf("credit of %d bytes is too short", len(b))
		}
		n := binary.BigEndian.Uint32(b)
		st.mu.Lock()
		defer st.mu.Unlock()
		if n > maxWindow || st.credit+int(n) > maxWindow {
			return breachf("credit of %d bytes is too large", n)
		}
		st.credit += int(n)
		st.cond.Broadcast()
	default:
		return breachf("message type %d is out of place", t)
	}
	return nil
}

func (st *Stream) receiveAnswer(code Code, reason string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.acceptor || st.answered {
		return breachf("answer is out of place")
	}
	st.answered, st.answer = true, Error{code, reason}
	if code != Connected {
		st.readEnded, st.writeEnded = true, true
	}
	st.cond.Broadcast()
	return nil
}

// receivePort receives a message of length bytes that begins with a port.
func (st *Stream) receivePort(length int) error {
	var b [portSize]byte
	if !st.datagrams() || length < len(b) {
		return breachf("a datagram of another port is out of place")
	}
	if _, err := io.ReadFull(&st.raw, b[:]); err != nil {
		return err
	}
	port := binary.BigEndian.Uint16(b[:])
	if port == 0 {
		return breachf("a datagram has port 0")
	}
	if !st.acceptor {
		st.ports.Store(true)
	}
	return st.receiveData(length-len(b), false, port)
}

// receiveData appends length bytes to the queue. port is that of a datagram of another
// port than the target's.
func (st *Stream) receiveData(length int, starved bool, port uint16) error {
	if length == 0 && !st.datagrams() {
		return nil
	}
	st.mu.Lock()
	st.starved = st.starved || starved
	dead := st.err != nil
	refused := st.refused
	st.unread += length
	over := st.unread > st.window || st.readEnded && !refused
	st.mu.Unlock()
	if over && !dead {
		return breachf("a flow sends more than it may")
	}
	// The peer may have sent the data before it knew of the refusal. That must not
	// end the stream, or the answer might not be sent.
	if dead || refused {
		_, err := io.CopyN(io.Discard, &st.raw, int64(length))
		return err
	}
	c := netx.NewChunk(max(length, 1))
	// Accounted for before the bytes come: the peer decides whether they ever do.
	st.s.ledger.hold(st, c.Cap())
	n, err := st.readBody(c.Room()[:length])
	if err != nil {
		st.s.ledger.drop(st, c.Cap())
		c.Release()
		if !errors.Is(err, errAbandoned) {
			return err
		}
		_, err = io.CopyN(io.Discard, &st.raw, int64(length-n))
		return err
	}
	c.Grow(length)
	c.Port = port
	if full := st.publish(c); full {
		st.raw.Shrink() // nothing comes before the reader has taken some
	}
	if !st.moved.Swap(true) {
		st.s.tidyLater()
	}
	return nil
}

// errAbandoned means that the flow ended while a message came.
var errAbandoned = errors.New("the flow has ended")

// readBody reads the body of a message, and how much of it has come if the flow ends
// meanwhile: its memory is needed, and the rest of the message may never come.
func (st *Stream) readBody(b []byte) (n int, err error) {
	st.mu.Lock()
	if st.err != nil {
		st.mu.Unlock()
		return 0, errAbandoned
	}
	st.reading = true
	st.mu.Unlock()
	n, err = io.ReadFull(&st.raw, b)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.reading = false
	if st.err == nil || st.s.over() {
		return n, err
	}
	_ = st.raw.SetReadDeadline(time.Time{}) // see fail
	if st.s.over() {
		_ = st.raw.SetReadDeadline(time.Unix(1, 0)) // see end
	}
	if err == nil || errors.Is(err, yamux.ErrTimeout) {
		return n, errAbandoned
	}
	return n, err
}

// publish hands c to the reader, and tells whether the flow's window is full now.
// What reached the queue before stays there meanwhile: the links may break while a
// message comes, and it may be all that the program waits for.
func (st *Stream) publish(c *netx.Chunk) (full bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch n := len(st.queue); {
	case st.err != nil:
		st.s.ledger.drop(st, c.Cap())
		c.Release()
		return false
	case st.datagrams() && n >= maxDatagrams:
		// Dropped, as a router with a full queue does. The peer gets its credit back.
		if grant := st.consume(c.Len()); grant > 0 {
			st.s.spawn(func() { st.sendCredit(grant) })
		}
		st.s.ledger.drop(st, c.Cap())
		c.Release()
	case n > 0 && !st.datagrams() && len(st.queue[n-1].Room()) >= c.Len():
		// Small messages share a chunk, or a flow of many tiny ones would hold
		// far more memory than its window.
		tail := st.queue[n-1]
		tail.Grow(copy(tail.Room(), c.Bytes()))
		st.s.ledger.drop(st, c.Cap())
		c.Release()
	default:
		st.queue = append(st.queue, c)
	}
	st.cond.Broadcast()
	return st.window == initialWindow && st.unread >= st.window
}

func (st *Stream) datagrams() bool { return st.req.Target.Network == UDP }

// next waits for the head of the queue. It returns with st.mu held if err is nil.
func (st *Stream) next() error {
	st.mu.Lock()
	for {
		switch {
		case st.err != nil:
			err := st.err
			st.mu.Unlock()
			return err
		case st.readDeadline.passed():
			st.mu.Unlock()
			return errDeadline
		case len(st.queue) > 0:
			return nil
		case st.noted:
			st.noted = false
			st.mu.Unlock()
			return ErrRefused
		case st.readEnded:
			st.mu.Unlock()
			return io.EOF
		}
		st.cond.Wait()
	}
}

// ErrRefused is what a read of a UDP flow returns once after the target has refused a
// datagram. The flow goes on.
var ErrRefused = errors.New("the target refuses a datagram")

// ReadChunk returns the next bytes, or one datagram, as Read does, in a chunk that
// the caller has to release. The chunk counts as consumed only when ReadChunk is
// called again, because the caller may hold it until then.
func (st *Stream) ReadChunk() (*netx.Chunk, error) {
	st.returnLent()
	if err := st.next(); err != nil {
		return nil, err
	}
	c := st.queue[0]
	st.queue[0] = nil
	st.queue = st.queue[1:]
	st.lent, st.lentCap = c.Len(), c.Cap()
	st.mu.Unlock()
	return c, nil
}

// returnLent accounts for the chunk that the last ReadChunk handed out.
func (st *Stream) returnLent() {
	st.mu.Lock()
	held, grant := st.lentCap, 0
	if held > 0 && st.err == nil {
		grant = st.consume(st.lent)
	}
	st.lent, st.lentCap = 0, 0
	st.mu.Unlock()
	if held > 0 {
		st.s.ledger.release(st, held)
	}
	if grant > 0 {
		st.sendCredit(grant)
	}
}

// Read implements net.Conn. If a datagram is longer than p, the rest is lost.
func (st *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := st.next(); err != nil {
		return 0, err
	}
	c := st.queue[0]
	n := copy(p, c.Bytes())
	taken, freed := n, 0
	if n == c.Len() || st.datagrams() {
		taken, freed = c.Len(), c.Cap()
		st.queue[0] = nil
		st.queue = st.queue[1:]
	} else {
		c.Skip(n)
	}
	grant := st.consume(taken)
	st.mu.Unlock()
	if freed > 0 {
		c.Release()
		st.s.ledger.release(st, freed)
	}
	if grant > 0 {
		st.sendCredit(grant)
	}
	return n, nil
}

// consume accounts for n bytes that left the queue. It returns the credit to grant
// the peer now: an eighth of the window at a time keeps the link full without a
// message for every read. It doubles the window if the peer ran out of credit while
// this end kept up, and if the flow may need more. Called with st.mu held.
func (st *Stream) consume(n int) int {
	st.unread -= n
	st.consumed += n
	if st.readEnded || st.consumed < st.window/8 {
		return 0
	}
	grant := st.consumed
	st.consumed = 0
	if st.datagrams() || st.window >= maxWindow {
		return grant
	}
	needed := st.needed(grant)
	if st.starved && st.unread <= st.window/4 && st.window <= needed && st.s.ledger.Promise(st.window) {
		grant += st.window
		st.window *= 2
		st.starved = false
	}
	return grant
}

// needed notes that n more bytes were consumed. It returns the window that the flow
// needs, in bytes: twice what it consumes until a grant brings more. More bytes than
// that would wait here, and would have left the processor's cache before they are read.
func (st *Stream) needed(n int) int {
	trip := st.s.carrier.RoundTrip()
	if trip == 0 {
		return maxWindow
	}
	trip += wakeTime
	now := time.Now()
	took := now.Sub(st.since)
	st.taken += n
	needed := int(float64(2*st.taken) * trip.Seconds() / min(max(took, trip), trip*3/2).Seconds())
	if took >= trip {
		st.since, st.taken = now, 0
	}
	return needed
}
