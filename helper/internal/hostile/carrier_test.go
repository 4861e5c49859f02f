package hostile_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// Types of the carrier's frames.
const (
	linkHello, linkProof, linkData, linkAck, linkPing, linkClose, linkPush = 1, 2, 3, 4, 5, 7, 8
)

// ackFields is what data and acknowledgements tell.
func ackFields(received, limit, arrived uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, received)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, limit), arrived)
}

func dataFrame(kind byte, seq uint64, payload []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind}, seq)
	return join(b, ackFields(0, carrier.DefaultWindow, 0), payload)
}

// gatewayCarrier is the carrier of a gateway.
func gatewayCarrier(t *testing.T, o carrier.Options) *carrier.Conn {
	t.Helper()
	o.Role = carrier.Gateway
	c := carrier.New(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// attach gives c a direct link that has passed the greeting, and returns the peer's
// end of it, on which the test writes frames. limit is what the peer allows c to send.
func attach(t *testing.T, c *carrier.Conn, limit uint64) carrier.Link {
	t.Helper()
	ours, theirs := tcpPair(t)
	attached := make(chan error, 1)
	go func() { attached <- c.Attach(context.Background(), carrier.NewStream(ours)) }()
	l := carrier.NewStream(theirs)
	hello := join([]byte{linkHello, 1, 1, byte(carrier.Capture)}, make([]byte, 16+32), []byte("instance"), ackFields(0, limit, 0)[:16])
	if err := l.WriteFrame(hello); err != nil {
		t.Fatal(err)
	}
	b, err := l.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(sha256.New, make([]byte, 32))
	m.Write(join([]byte("causeway link proof\x00"), []byte{byte(carrier.Capture)}, b, hello))
	if err := l.WriteFrame(m.Sum([]byte{linkProof})); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if err := <-attached; err != nil {
		t.Fatal(err)
	}
	return l
}

// flood writes frames that next makes until it returns nil or the link is closed.
func flood(l carrier.Link, next func() []byte) (sent int) {
	go func() {
		for {
			if _, err := l.ReadFrame(); err != nil {
				return
			}
		}
	}()
	for {
		b := next()
		if b == nil || l.WriteFrame(b) != nil {
			return sent
		}
		sent += len(b)
	}
}

// A peer that acknowledges frames by link and never the bytes, and that allows us to
// send for ever, does not make us keep more than a window.
func TestUnacknowledgedBytesAreBounded(t *testing.T) {
	c := gatewayCarrier(t, carrier.Options{})
	m := hostile.NewMeter(t)
	l := attach(t, c, 1<<62)
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	arrived := uint64(0)
	quiet := time.AfterFunc(2*time.Second, func() { _ = l.Close() })
	defer quiet.Stop()
	for arrived < 100<<20 {
		b, err := l.ReadFrame()
		if err != nil {
			break
		}
		if b[0] != linkData && b[0] != linkPush {
			continue
		}
		quiet.Reset(2 * time.Second)
		arrived += uint64(len(b) - carrier.Overhead)
		if l.WriteFrame(join([]byte{linkAck}, ackFields(0, 1<<62, arrived))) != nil {
			break
		}
	}
	t.Logf("%d MiB were sent", arrived>>20)
	m.AtMost(hostile.Usage{Goroutines: 6, Heap: carrier.DefaultWindow + 4<<20, Descriptors: 4})
	if arrived > carrier.DefaultWindow+1<<20 {
		t.Errorf("%d bytes are on their way", arrived)
	}
	_ = c.Close()
	m.Settles(hostile.Usage{Goroutines: 1, Heap: 2 << 20, Descriptors: 4})
}

// Bytes before whose beginning one is missing are kept. They come out of the budget
// that all sessions share, and a session that takes too much of it ends.
func TestBytesBeforeTheirTurnAreBounded(t *testing.T) {
	m := hostile.NewMeter(t)
	budget := netx.NewBudget(8 << 20)
	honest := gatewayCarrier(t, carrier.Options{Budget: budget})
	bystander := attach(t, honest, carrier.DefaultWindow)
	if err := bystander.WriteFrame(dataFrame(linkData, 0, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	c := gatewayCarrier(t, carrier.Options{Budget: budget})
	l := attach(t, c, carrier.DefaultWindow)
	peak := m.Peak()
	at := uint64(1)
	flood(l, func() []byte {
		if at > 20<<20 {
			return nil
		}
		at += 64 << 10
		return dataFrame(linkData, at, make([]byte, 1)) // a byte in each block
	})
	select {
	case <-c.Done():
		if err := c.Err(); !strings.Contains(err.Error(), "memory") {
			t.Errorf("the session ended: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("the session lives on with %d bytes", budget.Used())
	}
	if grown := peak(); grown > 24<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	_ = c.Close()
	b := make([]byte, 8)
	if n, err := honest.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("the other session read %q, %v", b[:n], err)
	}
	if used := budget.Used(); used > 128<<10 {
		t.Errorf("%d bytes are still held", used)
	}
}

// Each of these frames ends its link, and keeps nothing.
func TestWrongFramesEndTheLink(t *testing.T) {
	for name, send := range map[string][]byte{
		"beyond the window":     dataFrame(linkData, carrier.DefaultWindow, []byte("x")),
		"sequence overflow":     dataFrame(linkData, 1<<64-1, []byte("xyz")),
		"empty data":            dataFrame(linkData, 0, nil),
		"short data":            {linkData, 0, 0},
		"acknowledges unsent":   join([]byte{linkAck}, ackFields(1, carrier.DefaultWindow, 0)),
		"arrival of unsent":     join([]byte{linkAck}, ackFields(0, carrier.DefaultWindow, 7)),
		"short acknowledgement": join([]byte{linkAck}, ackFields(0, 0, 0)[:23]),
		"short ping":            {linkPing, 1},
		"hello again":           join([]byte{linkHello, 1, 1, byte(carrier.Capture)}, make([]byte, 72)),
		"unknown":               {99},
		"empty":                 {},
	} {
		t.Run(name, func(t *testing.T) {
			c := gatewayCarrier(t, carrier.Options{})
			l := attach(t, c, carrier.DefaultWindow)
			if err := l.WriteFrame(send); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(5 * time.Second); c.Link().Kind != ""; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the link is still in use")
				}
			}
		})
	}
}

// Tiny frames without end, pings among them, leave nothing behind.
func TestTinyFramesLeaveNothing(t *testing.T) {
	c := gatewayCarrier(t, carrier.Options{})
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	l := attach(t, c, carrier.DefaultWindow)
	m := hostile.NewMeter(t)
	peak := m.Peak()
	seq := uint64(0)
	flood(l, func() []byte {
		switch seq++; {
		case seq > 200_000:
			return nil
		case seq%2 == 0:
			return binary.BigEndian.AppendUint64([]byte{linkPing}, seq)
		default:
			return dataFrame(linkPush, seq/2, []byte{1})
		}
	})
	if grown := peak(); grown > 8<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if c.Link().Kind == "" {
		t.Error("the link is gone, though all that came was allowed")
	}
	m.Settles(hostile.Usage{Goroutines: 2, Heap: 2 << 20, Descriptors: 1})
}

// Links that prove nothing get no memory, whatever they announce.
func TestUnprovenLinksAreCheap(t *testing.T) {
	c := gatewayCarrier(t, carrier.Options{})
	m := hostile.NewMeter(t)
	var ends []net.Conn
	results := make(chan error, 200)
	for range cap(results) {
		ours, theirs := tcpPair(t)
		go func() { results <- c.Attach(context.Background(), carrier.NewStream(ours)) }()
		_ = theirs.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = theirs.Write([]byte{0, 1, 0xff, 0}) // a frame of 128 KiB, or most of it
		_, _ = theirs.Write(make([]byte, 100))
		ends = append(ends, theirs)
	}
	if grown := m.Grown(); grown.Heap > 200*16<<10 {
		t.Errorf("grown by %v", grown)
	}
	for _, e := range ends {
		_ = e.Close()
	}
	for range cap(results) {
		if err := <-results; err == nil {
			t.Error("a link without a proof was taken into use")
		}
	}
	m.Settles(hostile.Usage{Goroutines: 1, Heap: 1 << 20, Descriptors: 400})
}

// Links that come and go leave nothing, and more than there may be are refused.
func TestFloodOfLinks(t *testing.T) {
	c := gatewayCarrier(t, carrier.Options{})
	keep := attach(t, c, carrier.DefaultWindow)
	m := hostile.NewMeter(t)
	for range 200 {
		_ = attach(t, c, carrier.DefaultWindow).Close()
		for c.Link().Links > 1 {
			time.Sleep(time.Millisecond)
		}
	}
	m.Settles(hostile.Usage{Goroutines: 1, Heap: 2 << 20, Descriptors: 420})
	if err := keep.WriteFrame(dataFrame(linkData, 0, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
