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
	kind     string
}

func links() (a, b *pipeLink) {
	ab, ba := make(chan []byte, 4), make(chan []byte, 4)
	da, db := make(chan struct{}), make(chan struct{})
	a = &pipeLink{in: ba, out: ab, mine: da, theirs: db, once: new(sync.Once), maxFrame: 64 << 10, kind: "test"}
	b = &pipeLink{in: ab, out: ba, mine: db, theirs: da, once: new(sync.Once), maxFrame: 64 << 10, kind: "test"}
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

func (l *pipeLink) Close() error { l.once.Do(func() { close(l.mine) }); return nil }
func (l *pipeLink) Kind() string { return l.kind }
func (l *pipeLink) Shape() Shape {
	return Shape{MaxFrame: l.maxFrame, Window: 1 << 20, Slack: time.Millisecond}
}

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

func newPair(t *testing.T, limit time.Duration) (g, c *Conn) {
	g = New(Options{Role: Gateway, Session: session, Secret: secret, ResumeLimit: limit})
	c = New(Options{Role: Capture, Session: session, Secret: secret, ResumeLimit: limit})
	t.Cleanup(func() { _ = g.Close(); _ = c.Close() })
	return g, c
}

func pair(t *testing.T) (g, c *Conn, gl, cl *pipeLink) {
	t.Helper()
	g, c = newPair(t, 0)
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
		n, _ := g.Write(make([]byte, 64<<20))
		done <- n
	}()
	select {
	case <-done:
		t.Fatal("64 MiB were taken without a reader")
	case <-time.After(100 * time.Millisecond):
	}
	c.mu.Lock()
	held := len(c.e.in.blocks) * blockSize
	c.mu.Unlock()
	if held > DefaultWindow+blockSize {
		t.Fatalf("the receiver holds %d bytes", held)
	}
	if _, err := io.CopyN(io.Discard, c, 64<<20); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 64<<20 {
		t.Fatalf("wrote %d", n)
	}
}

func TestSessionWithoutALinkEndsWithTheReason(t *testing.T) {
	g, c := newPair(t, 50*time.Millisecond)
	_, _, gl, _ := attachBoth(t, g, c)
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

// A link on which the other side misbehaves ends; the session goes on over another.
func TestMisbehaviourEndsTheLink(t *testing.T) {
	fine := ackState{limit: DefaultWindow}
	for name, frame := range map[string][]byte{
		"acks unsent":         appendAck(nil, ackState{received: 1 << 30, limit: 1 << 31}),
		"acks unsent on link": appendAck(nil, ackState{limit: DefaultWindow, arrived: 1}),
		"limit below":         appendAck(nil, ackState{limit: 0, received: 1}),
		"unknown":             {99},
		"empty":               {},
		"no data":             appendData(nil, frameData, 0, fine),
		"over window":         append(appendData(nil, frameData, DefaultWindow, fine), 0),
		"wrapped":             append(appendData(nil, frameData, 1<<64-1, fine), 0, 0),
		"short data":          {byte(frameData), 0},
		"bad heartbeat":       {byte(framePing)},
		"second hello":        hello{min: 1, max: 1, role: Capture, session: session}.append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			g, c, _, cl := pair(t)
			_ = cl.WriteFrame(frame)
			<-cl.theirs
			if g.Err() != nil {
				t.Fatalf("the session ended: %v", g.Err())
			}
			if gErr, cErr, _, _ := attachBoth(t, g, c); gErr != nil || cErr != nil {
				t.Fatalf("attach: %v, %v", gErr, cErr)
			}
			exchange(t, g, c)
		})
	}
}

// exchange sends a byte each way.
func exchange(t *testing.T, g, c *Conn) {
	t.Helper()
	var b [1]byte
	for _, d := range [][2]*Conn{{g, c}, {c, g}} {
		if _, err := d[0].Write([]byte{7}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(d[1], b[:]); err != nil || b[0] != 7 {
			t.Fatal(b, err)
		}
	}
}

// A helper that was started anew knows nothing of the bytes under way: the
// session ends, and says so, rather than to go on with a hole.
func TestRestartedPeerEndsTheSession(t *testing.T) {
	g, c, gl, _ := pair(t)
	_ = gl.Close()
	fresh := New(Options{Role: Capture, Session: session, Secret: secret})
	defer fresh.Close()
	_ = c.Close()
	gErr, _, _, _ := attachBoth(t, g, fresh)
	if gErr == nil || !errors.Is(g.Err(), errRestarted) {
		t.Fatalf("attach: %v, session: %v", gErr, g.Err())
	}
}

// The newest link of a kind takes over, and nothing is lost with the older.
func TestNewerLinkTakesOver(t *testing.T) {
	g, c, old, _ := pair(t)
	if gErr, cErr, _, _ := attachBoth(t, g, c); gErr != nil || cErr != nil {
		t.Fatalf("attach: %v, %v", gErr, cErr)
	}
	<-old.mine
	exchange(t, g, c)
	if s := g.Link(); s.Links != 1 {
		t.Fatalf("%+v", s)
	}
}

// Direct links work side by side, take the data over from the others, and no
// more of them are taken than are of use.
func TestDirectLinksAreSpreadOver(t *testing.T) {
	g, c, _, _ := pair(t)
	attach := func() (error, error) {
		gl, cl := links()
		gl.kind, cl.kind = KindDirect, KindDirect
		var gErr, cErr error
		var wg sync.WaitGroup
		wg.Go(func() { gErr = g.Attach(t.Context(), gl) })
		wg.Go(func() { cErr = c.Attach(t.Context(), cl) })
		wg.Wait()
		return gErr, cErr
	}
	for range MaxDirect {
		if gErr, cErr := attach(); gErr != nil || cErr != nil {
			t.Fatalf("attach: %v, %v", gErr, cErr)
		}
	}
	if s := g.Link(); s.Kind != KindDirect || s.Links != MaxDirect {
		t.Fatalf("%+v", s)
	}
	if gErr, cErr := attach(); gErr == nil && cErr == nil {
		t.Fatal("a ninth direct link was taken")
	}
	go func() { _, _ = g.Write(make([]byte, 32<<20)) }()
	if _, err := io.CopyN(io.Discard, c, 32<<20); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	used := 0
	for _, l := range c.links {
		if l.arrived > 0 {
			used++
		}
		if l.kind != KindDirect && l.arrived > 0 {
			t.Errorf("%d bytes went over the lesser link", l.arrived)
		}
	}
	if used < 2 {
		t.Errorf("%d of %d links were used", used, len(c.links))
	}
}

func TestRoundTripIsMeasured(t *testing.T) {
	g, _, _, _ := pair(t)
	for range 500 {
		if s := g.Link(); s.RTT > 0 {
			if s.Kind != "test" || s.Silent {
				t.Fatalf("%+v", s)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no round trip measured")
}

func FuzzReceive(f *testing.F) {
	f.Add(appendData(nil, frameData, 0, ackState{limit: DefaultWindow}))
	f.Add(append(appendData(nil, frameDataPush, 9, ackState{limit: DefaultWindow}), "early"...))
	f.Add(appendAck(nil, ackState{}))
	f.Add(appendPing(nil, framePing, 1))
	f.Add(appendClose(nil, "bye"))
	f.Add(hello{}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := engine{window: 4096}
		p := &path{kind: KindExec, shape: Shape{MaxFrame: 1 << 10, Window: 1 << 16}}
		if err := e.attach(p, hello{limit: 4096}, 1); err != nil {
			t.Fatal(err)
		}
		e.write(make([]byte, 100))
		_, _ = e.next(p, nil, 1)
		if _, err := parseHello(b); err == nil && len(b) < helloSize {
			t.Fatal("short hello")
		}
		if len(b) > 0 {
			_ = e.receive(p, b, 2)
		}
		if len(e.in.blocks) > 1 || e.readable() > 4096 || e.out.start > e.fresh {
			t.Fatal("out of bounds")
		}
		e.read(make([]byte, 4096), 3)
		_, _ = e.next(p, nil, 3)
	})
}
