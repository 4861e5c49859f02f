package carrier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeLink is one end of an in-memory link.
type pipeLink struct {
	in, out  chan []byte
	mine     chan struct{}
	theirs   chan struct{}
	once     *sync.Once
	maxFrame int
}

func links() (a, b *pipeLink) {
	ab, ba := make(chan []byte, 4), make(chan []byte, 4)
	da, db := make(chan struct{}), make(chan struct{})
	a = &pipeLink{in: ba, out: ab, mine: da, theirs: db, once: new(sync.Once), maxFrame: 64 << 10}
	b = &pipeLink{in: ab, out: ba, mine: db, theirs: da, once: new(sync.Once), maxFrame: 64 << 10}
	return a, b
}

func (l *pipeLink) ReadFrame() ([]byte, error) {
	select {
	case b := <-l.in:
		return b, nil
	default:
	}
	select {
	case b := <-l.in:
		return b, nil
	case <-l.mine:
		return nil, net.ErrClosed
	case <-l.theirs:
		select {
		case b := <-l.in:
			return b, nil
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
}

func (l *pipeLink) WriteFrame(p []byte) error {
	select {
	case l.out <- bytes.Clone(p):
		return nil
	case <-l.mine:
		return net.ErrClosed
	case <-l.theirs:
		return io.ErrClosedPipe
	}
}

func (l *pipeLink) Close() error  { l.once.Do(func() { close(l.mine) }); return nil }
func (l *pipeLink) Kind() string  { return "test" }
func (l *pipeLink) MaxFrame() int { return l.maxFrame }
func (l *pipeLink) Window() int   { return 1 << 20 }

var (
	session = SessionID{1}
	secret  = Secret{2}
)

func attachBoth(t *testing.T, g, c *Conn) (gErr, cErr error, gl, cl *pipeLink) {
	t.Helper()
	gl, cl = links()
	var wg sync.WaitGroup
	wg.Go(func() { gErr = g.Attach(t.Context(), gl) })
	wg.Go(func() { cErr = c.Attach(t.Context(), cl) })
	wg.Wait()
	return gErr, cErr, gl, cl
}

func pair(t *testing.T) (g, c *Conn, gl, cl *pipeLink) {
	t.Helper()
	g = New(Options{Role: Gateway, Session: session, Secret: secret})
	c = New(Options{Role: Capture, Session: session, Secret: secret})
	t.Cleanup(func() { _ = g.Close(); _ = c.Close() })
	gErr, cErr, gl, cl := attachBoth(t, g, c)
	if gErr != nil || cErr != nil {
		t.Fatalf("attach: %v, %v", gErr, cErr)
	}
	return g, c, gl, cl
}

func TestBulkBothWays(t *testing.T) {
	g, c, _, _ := pair(t)
	const size = 64 << 20
	var wg sync.WaitGroup
	for _, d := range []struct{ from, to *Conn }{{g, c}, {c, g}} {
		sum := make(chan [32]byte, 1)
		wg.Go(func() {
			h := sha256.New()
			buf := make([]byte, 100_003)
			for n := 0; n < size; n += len(buf) {
				for i := range buf {
					buf[i] = byte(i*7 + n)
				}
				buf = buf[:min(len(buf), size-n)]
				h.Write(buf)
				if _, err := d.from.Write(buf); err != nil {
					t.Error(err)
				}
			}
			sum <- [32]byte(h.Sum(nil))
		})
		wg.Go(func() {
			h := sha256.New()
			if _, err := io.CopyN(h, d.to, size); err != nil {
				t.Error(err)
			}
			if got := [32]byte(h.Sum(nil)); got != <-sum {
				t.Error("content differs")
			}
		})
	}
	wg.Wait()
}

func TestWindowBoundsWhatIsInFlight(t *testing.T) {
	g, c, _, _ := pair(t)
	done := make(chan int, 1)
	go func() {
		n, _ := g.Write(make([]byte, 20<<20))
		done <- n
	}()
	select {
	case <-done:
		t.Fatal("20 MiB were taken without a reader")
	case <-time.After(100 * time.Millisecond):
	}
	c.mu.Lock()
	held := c.in.len()
	c.mu.Unlock()
	if held > DefaultWindow {
		t.Fatalf("the receiver holds %d bytes", held)
	}
	if _, err := io.CopyN(io.Discard, c, 20<<20); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 20<<20 {
		t.Fatalf("wrote %d", n)
	}
}

func TestLostLinkEndsBothWithTheReason(t *testing.T) {
	g, c, gl, _ := pair(t)
	_ = gl.Close()
	<-g.Done()
	<-c.Done()
	for _, conn := range []*Conn{g, c} {
		if err := conn.Err(); err == nil || !strings.Contains(err.Error(), "test link lost") {
			t.Errorf("%v ended with %v", conn.o.Role, err)
		}
		if _, err := conn.Write([]byte("x")); err == nil {
			t.Error("write after the end succeeded")
		}
	}
}

func TestCloseTellsThePeerWhy(t *testing.T) {
	g, c, _, _ := pair(t)
	_ = g.CloseWithReason("the user disconnected\x1b")
	<-c.Done()
	var closed *ClosedError
	if err := c.Err(); !errors.As(err, &closed) || closed.Reason != "the user disconnected?" {
		t.Fatalf("capture ended with %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read: %v", err)
	}
}

func TestGreetingRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"wrong secret":    {Role: Capture, Session: session, Secret: Secret{9}},
		"another session": {Role: Capture, Session: SessionID{9}, Secret: secret},
		"same role":       {Role: Gateway, Session: session, Secret: secret},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(Options{Role: Gateway, Session: session, Secret: secret})
			c := New(o)
			defer g.Close()
			defer c.Close()
			gErr, cErr, _, _ := attachBoth(t, g, c)
			if gErr == nil || cErr == nil {
				t.Fatalf("attach: %v, %v", gErr, cErr)
			}
		})
	}
}

func TestReflectedProofIsRefused(t *testing.T) {
	g := New(Options{Role: Gateway, Session: session, Secret: secret})
	defer g.Close()
	gl, attacker := links()
	result := make(chan error, 1)
	go func() { result <- g.Attach(t.Context(), gl) }()
	b, err := attacker.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHello(b)
	if err != nil {
		t.Fatal(err)
	}
	h.role = Capture
	_ = attacker.WriteFrame(h.append(nil))
	b, _ = attacker.ReadFrame()
	_ = attacker.WriteFrame(b)
	if err := <-result; err == nil {
		t.Fatal("the gateway took its own proof back")
	}
}

func TestVersionsThatDoNotMeet(t *testing.T) {
	c := New(Options{Role: Gateway, Session: session, Secret: secret})
	for _, h := range []hello{{min: 5, max: 6, role: Capture, session: session}, {min: 0, max: 0, role: Capture, session: session}} {
		if err := c.admissible(h); err == nil || !strings.Contains(err.Error(), "update the extension") {
			t.Errorf("versions %d to %d: %v", h.min, h.max, err)
		}
	}
}

func TestSilentPeerTimesOutWithContext(t *testing.T) {
	g := New(Options{Role: Gateway, Session: session, Secret: secret})
	defer g.Close()
	gl, _ := links()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("no answer"))
	defer cancel()
	if err := g.Attach(ctx, gl); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Fatalf("attach: %v", err)
	}
}

func TestMisbehaviourEndsTheLink(t *testing.T) {
	for name, frame := range map[string][]byte{
		"gap":           appendData(nil, 7, ackState{0, DefaultWindow}),
		"acks unsent":   appendAck(nil, ackState{1 << 30, 1 << 31}),
		"unknown":       {99},
		"empty":         {},
		"over window":   append(appendData(nil, 0, ackState{0, DefaultWindow}), make([]byte, DefaultWindow+1)...),
		"short data":    {byte(frameData), 0},
		"bad heartbeat": {byte(framePing)},
		"second hello":  hello{min: 1, max: 1, role: Capture, session: session}.append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			g, _, _, cl := pair(t)
			_ = cl.WriteFrame(frame)
			<-g.Done()
			if err := g.Err(); err == nil {
				t.Fatal("no reason")
			}
		})
	}
}

func TestRoundTripIsMeasured(t *testing.T) {
	g, _, _, _ := pair(t)
	for range 500 {
		if s := g.Link(); s.RTT > 0 {
			if s.Kind != "test" || s.Stalled {
				t.Fatalf("%+v", s)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no round trip measured")
}

func FuzzReceive(f *testing.F) {
	f.Add(appendData(nil, 0, ackState{0, DefaultWindow}))
	f.Add(appendAck(nil, ackState{}))
	f.Add(appendPing(nil, framePing, 1))
	f.Add(appendClose(nil, "bye"))
	f.Add(hello{}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(Options{Role: Gateway, Window: 4096})
		_, _ = parseHello(b)
		if len(b) > 0 {
			_ = c.receive(b)
		}
		if c.in.len() > 4096 || c.out.len() < 0 {
			t.Fatal("buffers out of bounds")
		}
	})
}
