package tunnel

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// halting is a carrier whose link moves once moves is closed.
type halting struct {
	unknown
	moves chan struct{}
}

func (h halting) Moving() <-chan struct{} { return h.moves }

// A stream without a request costs the peer its session, but not for the time in
// which no link moves.
func TestRequestThatNeverComes(t *testing.T) {
	link := halting{moves: make(chan struct{})}
	s, _ := opened(t, Options{Carrier: link})
	for s.Flows() == 0 {
		time.Sleep(time.Millisecond)
	}
	ticks := int(requestTime/requestTick) + 1
	for range 10 * ticks {
		s.countRequests()
	}
	if err := s.Err(); err != nil {
		t.Fatalf("without a link the session ended: %v", err)
	}
	close(link.moves)
	for range ticks {
		s.countRequests()
	}
	select {
	case <-s.Done():
		if err := s.Err(); !strings.Contains(err.Error(), "no request") {
			t.Errorf("the session ended: %v", err)
		}
	default:
		t.Error("the session waits on")
	}
}

// Bytes that were delivered can be read while the next message of their flow is
// under way, which may take as long as the links are cut.
func TestMessageUnderWayHidesNothing(t *testing.T) {
	s, theirs := opened(t, Options{})
	b := theirs.request(t)
	b = append(b, muxMessage(msgData, []byte("delivered"))...)
	b = append(b, muxMessage(msgData, []byte("half of a frame"))[:muxHeaderSize+headerSize+4]...)
	_, _ = theirs.Write(b) // at once, so that nobody reads in between
	type result struct {
		st  *Stream
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		st, err := s.Accept()
		accepted <- result{st, err}
	}()
	var st *Stream
	select {
	case r := <-accepted:
		if st = r.st; r.err != nil {
			t.Fatal(r.err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the request is hidden by the frame that comes")
	}
	_ = st.SetReadDeadline(time.Now().Add(2 * time.Second))
	b = make([]byte, 64)
	n, err := st.Read(b)
	if err != nil || string(b[:n]) != "delivered" {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	_, _ = theirs.Write([]byte(" of a frame"))
	if n, err = st.Read(b); err != nil || string(b[:n]) != "half of a frame" {
		t.Fatalf("read %q, %v", b[:n], err)
	}
}

// A flow that is read while data arrives, and ended in between, leaves nothing in
// the budget.
func TestBudgetIsBalanced(t *testing.T) {
	b := netx.NewBudget(8 << 20)
	for range 300 {
		st := &Stream{s: &Session{ledger: newLedger(b.Share(nil), nil), carrier: unknown{}, police: nil}, window: maxWindow}
		st.cond.L = &st.mu
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				if c, err := st.ReadChunk(); err == nil {
					c.Release()
				}
			}
			st.fail(net.ErrClosed)
		}()
		for range 40 {
			c := netx.NewChunk(1 << 10)
			c.Grow(1 << 10)
			st.s.ledger.hold(st, c.Cap()) // as receiveData does
			st.publish(c)
		}
		<-done
		st.s.ledger.mu.Lock()
		holders := len(st.s.ledger.holders)
		st.s.ledger.mu.Unlock()
		if used := b.Used(); used != 0 || holders != 0 {
			t.Fatalf("%d bytes are held for %d dead flows", used, holders)
		}
	}
}

// rawPeer is the peer's end of a connection, on which the test writes frames.
type rawPeer struct{ net.Conn }

func muxHeader(kind byte, id uint32, length int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, kind, 0, 0}, id)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// muxMessage is a frame of stream 1 with one message.
func muxMessage(kind messageType, body []byte) []byte {
	h := header(kind, len(body))
	return append(append(muxHeader(muxData, 1, headerSize+len(body)), h[:]...), body...)
}

// request asks for a flow on stream 1.
func (p rawPeer) request(t *testing.T) []byte {
	t.Helper()
	req, err := appendRequest(nil, Request{Target: Target{Network: TCP, Host: "db"}})
	if err != nil {
		t.Fatal(err)
	}
	return muxMessage(msgRequest, req)
}

// opened starts a gateway's session on which stream 1 is open.
func opened(t *testing.T, o Options) (*Session, rawPeer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Server(other, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), s.Close() })
	b := muxHeader(muxWindow, 1, 0)
	b[3] = muxSYN
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	return s, rawPeer{conn}
}

// TestMessageThatNeverComes announces a datagram whose last byte never comes. It
// counts from the start, and a reset frees it. What comes after it is dropped.
func TestMessageThatNeverComes(t *testing.T) {
	budget := netx.NewBudget(8 << 20)
	s, peer := opened(t, Options{Memory: budget.Share(func() {})})
	req, err := appendRequest(nil, Request{Target: Target{Network: UDP, Host: "ntp", Port: 123}})
	if err != nil {
		t.Fatal(err)
	}
	const size = 100_000
	h := header(msgData, size)
	whole := append(h[:], make([]byte, size)...)
	frame := append(muxHeader(muxData, 1, len(whole)-1), whole[:len(whole)-1]...)
	if _, err := peer.Write(append(muxMessage(msgRequest, req), frame...)); err != nil {
		t.Fatal(err)
	}
	st, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	used := func(what string, good func(n int) bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); !good(budget.Used()); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d bytes are accounted for", what, budget.Used())
			}
		}
	}
	used("a message under way, of the flow that would have to free some", func(n int) bool { return n >= size && s.ledger.stalled(0) == st })
	st.Reset("its memory is needed")
	used("after a reset", func(n int) bool { return n < size/2 })
	rest := append(muxHeader(muxData, 1, 1+headerSize+3), 0)
	h = header(msgData, 3)
	if _, err := peer.Write(append(append(rest, h[:]...), 'e', 'n', 'd')); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write(append(muxHeader(muxWindow, 3, 0)[:3], append([]byte{muxSYN}, muxHeader(muxWindow, 3, 0)[4:]...)...)); err != nil {
		t.Fatal(err)
	}
	again := muxMessage(msgRequest, req)
	binary.BigEndian.PutUint32(again[4:], 3)
	if _, err := peer.Write(again); err != nil {
		t.Fatal(err)
	}
	next := make(chan error, 1)
	go func() {
		_, err := s.Accept()
		next <- err
	}()
	select {
	case err := <-next:
		if err != nil {
			t.Errorf("the session does not go on: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("no other flow is accepted")
	}
}

// FuzzPolice wants the judgement of both directions to be the same however the bytes
// are cut, and its counts to stay within their bounds.
func FuzzPolice(f *testing.F) {
	opened := []byte{0, muxWindow, 0, muxSYN, 0, 0, 0, 1, 0, 0, 0, 0}
	f.Add(append(opened, 0, muxData, 0, muxFIN, 0, 0, 0, 1, 0, 0, 0, 2, 'x', 'y'), byte(3))
	f.Add(append(opened, 0, muxPing, 0, muxSYN, 0, 0, 0, 0, 0, 0, 0, 2), byte(1))
	f.Add([]byte{0, muxGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, byte(7))
	f.Add([]byte{0, muxWindow, 0, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, byte(5))
	f.Fuzz(func(t *testing.T, b []byte, piece byte) {
		memory := netx.NewBudget(1 << 40).Share(nil)
		whole := newPolice(true, 2, memory.Open(nil))
		cut := newPolice(true, 2, memory.Open(nil))
		_, err := whole.read(b)
		var err2 error
		for rest := b; len(rest) > 0 && err2 == nil; {
			n := min(int(piece)+1, len(rest))
			_, err2 = cut.read(rest[:n])
			rest = rest[n:]
		}
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("whole: %v, in pieces: %v", err, err2)
		}
		if whole.theirs > whole.maxStreams || whole.pings > maxPings+1 || whole.backlog < 0 || whole.buffers < 0 {
			t.Fatalf("%d streams, %d pings, %d bytes, %d in buffers", whole.theirs, whole.pings, whole.backlog, whole.buffers)
		}
		held := 0
		for id, l := range whole.lanes {
			whole.took(id, l.held)
			held += l.buffer
		}
		if whole.backlog != 0 || held != whole.buffers {
			t.Fatalf("%d bytes are left of nothing, %d in buffers of %d", whole.backlog, held, whole.buffers)
		}
	})
}
