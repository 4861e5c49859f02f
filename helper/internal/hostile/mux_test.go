package hostile_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Types and flags of the multiplexer's frames, and types of the tunnel's messages.
const (
	data, window, ping, goAway = 0, 1, 2, 3
	syn, ack, fin, rst         = 1, 2, 4, 8

	msgRequest, msgAnswer, msgData, msgEnd, msgReset, msgCredit = 1, 2, 3, 4, 5, 6
)

// frame is a frame of the multiplexer. length counts where body is nil.
func frame(kind byte, flags uint16, id, length uint32, body []byte) []byte {
	if body != nil {
		length = uint32(len(body))
	}
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, body...)
}

// message is a message of the tunnel.
func message(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// request asks for a flow.
func request(network tunnel.Network) []byte {
	b := []byte{1, byte(network), 0x15, 0x38, 2, 'd', 'b', 0, 0, 0, 0, 0, 0, 0}
	return message(msgRequest, b)
}

// open is a new stream with the request of a flow.
func open(id uint32, network tunnel.Network) []byte {
	return join(frame(window, syn, id, 0, nil), frame(data, 0, id, 0, request(network)))
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// peer is a capture without manners: it writes bytes to a gateway's session.
type peer struct {
	t    *testing.T
	conn net.Conn
	s    *tunnel.Session
}

// newPeer starts a session of the gateway, which accepts every flow and reads
// none, and the connection on which the test is its peer.
func newPeer(t *testing.T, o tunnel.Options) *peer {
	t.Helper()
	return newPeerOf(t, o, func(*tunnel.Stream) {})
}

// newPeerOf is newPeer with a gateway that does use with each flow, which must not block.
func newPeerOf(t *testing.T, o tunnel.Options, use func(*tunnel.Stream)) *peer {
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
	s, err := tunnel.Server(other, o)
	if err != nil {
		t.Fatal(err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			st, err := s.Accept()
			if err != nil {
				return
			}
			_ = st.Reply(tunnel.Connected, "")
			use(st)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		_ = s.Close()
		<-accepting
	})
	return &peer{t, conn, s}
}

// send writes b; an error is no failure, since a session that has ended takes nothing.
func (p *peer) send(b []byte) error {
	_ = p.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := p.conn.Write(b)
	return err
}

// ignore reads what the session says, so that it can go on.
func (p *peer) ignore() {
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, p.conn) }()
	p.t.Cleanup(func() { _ = p.conn.Close(); <-done })
}

// ends waits for the session's end.
func (p *peer) ends(why string) {
	p.t.Helper()
	select {
	case <-p.s.Done():
		if err := p.s.Err(); err == nil || !strings.Contains(err.Error(), why) {
			p.t.Errorf("the session ended with %v, want %q in it", err, why)
		}
	case <-time.After(5 * time.Second):
		p.t.Errorf("the session lives on, %d flows", p.s.Flows())
	}
}

// lives checks that the session still answers.
func (p *peer) lives(id uint32) {
	p.t.Helper()
	before := p.s.Flows()
	if err := p.send(open(id, tunnel.TCP)); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); p.s.Flows() <= before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) || p.s.Err() != nil {
			p.t.Fatalf("the session opens no flow any more: %v", p.s.Err())
		}
	}
}

// Each of these frames or messages costs the peer its session.
func TestBreachEndsTheSession(t *testing.T) {
	opened := open(1, tunnel.TCP)
	on1 := func(b []byte) []byte { return join(opened, frame(data, 0, 1, 0, b)) }
	for name, c := range map[string]struct {
		send []byte
		why  string
	}{
		"version":             {[]byte{1, window, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}, "version"},
		"type":                {frame(9, 0, 1, 0, nil), "type"},
		"flags":               {frame(window, 0x10, 1, 0, nil), "flags"},
		"huge frame":          {join(opened, frame(data, 0, 1, 30<<20, nil)), "data frame"},
		"huge discarded":      {frame(data, 0, 77, 1<<31, nil), "data frame"},
		"our side's stream":   {frame(window, syn, 2, 0, nil), "cannot be opened"},
		"stream zero":         {frame(window, syn, 0, 0, nil), "cannot be opened"},
		"opened twice":        {join(opened, frame(window, syn, 1, 0, nil)), "cannot be opened"},
		"acknowledged own":    {join(opened, frame(window, ack, 1, 0, nil)), "acknowledged"},
		"two ends":            {join(frame(window, syn, 1, 0, nil), frame(window, fin, 1, 0, nil), frame(window, fin, 1, 0, nil)), "ends twice"},
		"window":              {join(opened, frame(window, 0, 1, 1<<31, nil)), "window"},
		"go away":             {frame(goAway, 0, 0, 0, nil), "gave up"},
		"unasked pong":        {frame(ping, ack, 0, 7, nil), "ping"},
		"ping without flag":   {frame(ping, 0, 0, 7, nil), "ping"},
		"no request":          {join(frame(window, syn, 1, 0, nil), frame(data, 0, 1, 0, message(msgData, []byte("x")))), "starts with"},
		"unknown message":     {on1([]byte{99, 0, 0, 0}), "unknown message"},
		"first message long":  {join(frame(window, syn, 1, 0, nil), frame(data, 0, 1, 0, []byte{msgRequest, 9, 0, 0})), "at most"},
		"long message":        {on1([]byte{msgData, 0xff, 0, 0}), "at most"},
		"second request":      {on1(request(tunnel.TCP)), "out of place"},
		"answer to an asker":  {on1(message(msgAnswer, []byte{0})), "out of place"},
		"empty answer":        {on1(message(msgAnswer, nil)), "ends too early"},
		"huge credit":         {on1(message(msgCredit, []byte{0xff, 0, 0, 0})), "credit"},
		"short credit":        {on1(message(msgCredit, []byte{1})), "credit"},
		"data beyond credit":  {on1(message(msgData, make([]byte, 16<<10+1))), "more than it may"},
		"data after msg end":  {on1(join(message(msgEnd, nil), message(msgData, []byte("x")))), "more than it may"},
		"long end":            {on1([]byte{msgEnd, 0, 0, 1}), "at most"},
		"reset with nothing":  {on1(message(msgReset, nil)), "ends too early"},
		"torn header, unread": {bytes.Repeat([]byte{0xa5}, 13), "version"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, tunnel.Options{})
			p.ignore()
			_ = p.send(c.send)
			p.ends(c.why)
		})
	}
}

// A header that comes byte by byte is judged before its last byte has any effect.
func TestTornHeaders(t *testing.T) {
	p := newPeer(t, tunnel.Options{})
	p.ignore()
	for _, b := range join(open(1, tunnel.TCP), frame(data, 0, 1, 30<<20, nil)) {
		if err := p.send([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	p.ends("data frame")
}

// Streams whose first bytes are no message, and then all that a peer may send.
func TestGarbageIsNotBuffered(t *testing.T) {
	m := hostile.NewMeter(t)
	p := newPeer(t, tunnel.Options{})
	p.ignore()
	garbage := bytes.Repeat([]byte{0x5a}, 64<<10)
	peak := m.Peak()
	for id := uint32(1); id < 24; id += 2 {
		if p.send(frame(window, syn, id, 0, nil)) != nil {
			break
		}
	}
	sent := 0
	for ; sent < 384<<20; sent += len(garbage) {
		id := uint32(1 + 2*(sent/len(garbage)%12))
		if p.send(frame(data, 0, id, 0, garbage)) != nil {
			break
		}
	}
	t.Logf("%d MiB sent, the heap's peak is %.1f MiB more", sent>>20, float64(peak())/(1<<20))
	p.ends("breaks the protocol")
	if grown := peak(); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	_ = p.conn.Close()
	_ = p.s.Close()
	m.Settles(hostile.Usage{Goroutines: 2, Heap: 3 << 20, Descriptors: 2})
}

// A ping is answered, by one goroutine at most; a flood of them is not.
func TestPings(t *testing.T) {
	p := newPeer(t, tunnel.Options{})
	answer := make([]byte, 12)
	for i := range uint32(500) {
		_ = p.send(frame(ping, syn, 0, i, nil))
		if _, err := io.ReadFull(p.conn, answer); err != nil || !bytes.Equal(answer, frame(ping, ack, 0, i, nil)) {
			t.Fatalf("answer %x, %v", answer, err)
		}
	}
	m := hostile.NewMeter(t)
	flood := bytes.Repeat(frame(ping, syn, 0, 1, nil), 4096)
	for range 256 { // a million, whose answers nobody reads
		if p.send(flood) != nil {
			break
		}
	}
	m.AtMost(hostile.Usage{Goroutines: 8, Heap: 4 << 20, Descriptors: 2})
	p.ends("pings")
}

// Streams that are opened and never ask for anything are bounded, and so is what
// they cost.
func TestStreamsWithoutRequests(t *testing.T) {
	m := hostile.NewMeter(t)
	p := newPeer(t, tunnel.Options{MaxFlows: 512})
	p.ignore()
	peak := m.Peak()
	for id := uint32(1); id < 40_000; id += 2 {
		if p.send(frame(window, syn, id, 0, nil)) != nil {
			break
		}
	}
	p.ends("streams")
	if grown := peak(); grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	_ = p.s.Close()
	m.Settles(hostile.Usage{Goroutines: 2, Heap: 3 << 20, Descriptors: 2})
}

// Streams that begin, end and begin again are no offence, and leave nothing behind.
func TestStreamsThatComeAndGo(t *testing.T) {
	p := newPeer(t, tunnel.Options{MaxFlows: 64})
	m := hostile.NewMeter(t)
	ended := make(chan struct{}, 32) // at most so many streams at once
	go func() {
		defer close(ended)
		head := make([]byte, 12)
		for {
			if _, err := io.ReadFull(p.conn, head); err != nil {
				return
			}
			if head[1] == data {
				_, _ = io.CopyN(io.Discard, p.conn, int64(binary.BigEndian.Uint32(head[8:])))
			}
			if head[3]&fin != 0 {
				<-ended
			}
		}
	}()
	id := uint32(1)
	for ; id < 20_000; id += 2 {
		ended <- struct{}{}
		b := join(open(id, tunnel.TCP), frame(data, 0, id, 0, message(msgReset, []byte{10})), frame(window, fin, id, 0, nil))
		if err := p.send(b); err != nil {
			t.Fatalf("stream %d: %v, %v", id, err, p.s.Err())
		}
	}
	m.Settles(hostile.Usage{Goroutines: 4, Heap: 4 << 20, Descriptors: 2})
	p.lives(id)
	_ = p.conn.Close()
	for range ended {
	}
}

// Empty datagrams take no credit. Each must not take memory for ever.
func TestEmptyDatagrams(t *testing.T) {
	m := hostile.NewMeter(t)
	p := newPeer(t, tunnel.Options{})
	p.ignore()
	_ = p.send(open(1, tunnel.UDP))
	peak := m.Peak()
	empty := frame(data, 0, 1, 0, bytes.Repeat(message(msgData, nil), 4096))
	for range 30 {
		if err := p.send(empty); err != nil {
			t.Fatal(err)
		}
	}
	p.lives(3)
	if grown := peak(); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	m.AtMost(hostile.Usage{Goroutines: 10, Heap: 4 << 20, Descriptors: 3})
}

// A large frame leaves a stream of yamux with a buffer as large. What many streams
// keep in this way is bounded, though every flow's data is read at once.
func TestBuffersOfIdleStreams(t *testing.T) {
	m := hostile.NewMeter(t)
	read := make(chan struct{}, 4096)
	p := newPeerOf(t, tunnel.Options{}, func(st *tunnel.Stream) {
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, err := st.Read(b)
				if err != nil {
					return
				}
				if n > 1 {
					read <- struct{}{}
				}
			}
		}()
	})
	p.ignore()
	// A flow of datagrams may send 256 KiB at once, in frames of 128 KiB.
	body := make([]byte, 64<<10-2)
	full := join(message(msgData, body), message(msgData, body))
	tiny := message(msgData, []byte{1})
	const flows = 1500
	for i := range uint32(flows) {
		id := 1 + 2*i
		if err := p.send(join(open(id, tunnel.UDP), frame(data, 0, id, 0, full))); err != nil {
			t.Fatal(err, p.s.Err())
		}
		<-read
		<-read
		if i%100 == 99 {
			for j := range i { // none of them is idle
				_ = p.send(frame(data, 0, 1+2*j, 0, tiny))
			}
		}
	}
	p.lives(2*flows + 1)
	grown := m.Grown()
	t.Logf("%v for %d flows", grown, flows)
	if grown.Heap > 40<<20 {
		t.Errorf("grown by %v", grown)
	}
}
