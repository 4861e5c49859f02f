package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/hostile"
)

// peer speaks to a served gateway as it likes.
type peer struct {
	Pipe
	server  *Conn
	fake    *fakeGateway
	mu      sync.Mutex
	replies []string
	drained chan struct{}
}

// hostilePeer serves a gateway to a peer, which has greeted in order if greeted.
func hostilePeer(t *testing.T, transport string, greeted bool) *peer {
	t.Helper()
	a, b := transports[transport](t)
	b.Raise()
	p := &peer{Pipe: b, fake: newFake(), drained: make(chan struct{})}
	p.server = ServeGateway(a, Identity{}, p.fake)
	go func() {
		defer close(p.drained)
		for {
			body, _, err := b.Read()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.replies = append(p.replies, string(body[:min(len(body), 300)]))
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = p.server.Close()
		_ = b.Close()
		p.server.Wait()
		<-p.drained
	})
	if greeted {
		hello, _ := json.Marshal(hello)
		p.say(t, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":%s}`, hello)
		select {
		case <-p.server.Ready():
		case <-time.After(5 * time.Second):
			t.Fatal("not greeted")
		}
	}
	return p
}

func (p *peer) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := p.WriteMessage(fmt.Appendf(nil, format, args...)); err != nil {
		t.Log(err) // the conversation may be over
	}
}

func (p *peer) wantLost(t *testing.T) {
	t.Helper()
	select {
	case <-p.server.Done():
		if p.server.Err() == nil {
			t.Error("the end counts as one in order")
		}
	case <-time.After(5 * time.Second):
		t.Error("the conversation goes on")
	}
}

// awaitReply waits for a reply that contains text.
func (p *peer) awaitReply(t *testing.T, text string) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		for _, r := range p.replies {
			if strings.Contains(r, text) {
				p.mu.Unlock()
				return
			}
		}
		p.mu.Unlock()
	}
	t.Errorf("no reply has %q", text)
}

// A peer of another version may answer what this one cannot take.
func TestCallWithAnUnusableResult(t *testing.T) {
	c, _, _ := conversation(t, "stdio", Identity{})
	if err := c.Call(t.Context(), MethodInitialize, hello, nil); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		var number int
		failed <- c.Call(t.Context(), MethodSessionStatus, nil, &number)
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), MethodSessionStatus) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the call waits for ever")
	}
	if err := c.Call(t.Context(), MethodSessionStatus, nil, new(GatewayStatus)); err != nil {
		t.Errorf("the next call: %v", err)
	}
	failed2 := make(chan error, 1)
	go func() { failed2 <- c.Call(t.Context(), MethodSessionStatus, func() {}, nil) }()
	select {
	case err := <-failed2:
		if err == nil {
			t.Error("parameters that are no JSON were sent")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the call with wrong parameters waits for ever")
	}
}

// A peer that reads nothing holds up a call no longer than its context lasts.
func TestCallToAFrozenPeer(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := newConn(NewStdio(a, a), nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- c.Call(ctx, MethodInitialize, hello, nil) }()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("nobody answered, but the call succeeded")
		}
	case <-time.After(5 * time.Second):
		t.Error("the call waits for ever")
	}
	_ = c.Close()
	c.Wait()
}

// Links that are offered faster than they are taken do not get mixed up: each is
// taken once, and only the newest is alive.
func TestLinksAreTakenOnce(t *testing.T) {
	for name := range transports {
		t.Run(name, func(t *testing.T) {
			p := hostilePeer(t, name, true)
			const links = 8
			for i := range links {
				p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"link/open","params":{"kind":"command"}}`, i+1)
			}
			seen := map[*Link]bool{}
			for range links {
				select {
				case l := <-p.fake.links:
					if seen[l] {
						t.Fatal("a link was taken twice")
					}
					seen[l] = true
				case <-time.After(5 * time.Second):
					t.Fatalf("%d links were taken, want %d", len(seen), links)
				}
			}
			alive := 0
			for l := range seen {
				select {
				case <-l.Done():
				default:
					alive++
				}
			}
			if alive != 1 {
				t.Errorf("%d links are alive", alive)
			}
		})
	}
}

func TestWhatBreaksTheProtocolLosesTheConversation(t *testing.T) {
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for name, messages := range map[string][]string{
		"no JSON":              {"hello"},
		"an array":             {`[{"jsonrpc":"2.0","id":1,"method":"session/status"}]`},
		"a number":             {"7"},
		"too deep":             {`{"jsonrpc":"2.0","id":1,"method":"session/status","params":` + deep + `}`},
		"an id that is none":   {`{"jsonrpc":"2.0","id":{},"method":"session/status"}`},
		"a long id":            {`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1000) + `","method":"session/status"}`},
		"an id in use":         {`{"jsonrpc":"2.0","id":1,"method":"resource/test","params":{}}`, `{"jsonrpc":"2.0","id":1,"method":"resource/test","params":{}}`},
		"neither of the three": {`{"jsonrpc":"2.0"}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := hostilePeer(t, "stdio", true)
			for _, m := range messages {
				p.say(t, "%s", m)
			}
			p.wantLost(t)
		})
	}
}

// Before it has shown what it must, a peer may say little.
func TestStrangersAreBounded(t *testing.T) {
	for name := range transports {
		t.Run(name+"/message", func(t *testing.T) {
			p := hostilePeer(t, name, false)
			p.say(t, `{"jsonrpc":"2.0","id":1,"method":"session/open","params":"%s"}`, strings.Repeat("x", 1<<20))
			p.wantLost(t)
		})
		t.Run(name+"/frame", func(t *testing.T) {
			p := hostilePeer(t, name, false)
			p.say(t, `{"jsonrpc":"2.0","id":1,"method":"link/open","params":{"kind":"command"}}`)
			p.awaitReply(t, "initialize first")
			_ = p.WriteFrame([]byte("frame"), nil)
			p.wantLost(t)
		})
	}
}

// Large calls at once take the memory of a few: the others are refused.
func TestLargeCallsAreBounded(t *testing.T) {
	p := hostilePeer(t, "stdio", true)
	large := strings.Repeat("x", MaxMessage-1000)
	m := hostile.NewMeter(t)
	for i := range 4 { // two of which fit
		p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"resource/test","params":{"resource":"%s"}}`, i+1, large)
	}
	p.awaitReply(t, "too many calls at once")
	m.AtMost(hostile.Usage{Goroutines: 4, Heap: 3 * maxInFlight})
	_ = p.Close()
	_ = p.server.Close()
	m.Settles(hostile.Usage{Heap: 2 << 20})
}

// A header that promises much takes no memory before the bytes come, and a large
// message none after it.
func TestBuffersAreGivenBack(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	pipe := NewStdio(r, w2)
	pipe.Raise()
	m := hostile.NewMeter(t)
	got := make(chan int)
	go func() {
		defer close(got)
		for {
			b, _, err := pipe.Read()
			if err != nil {
				return
			}
			got <- len(b)
		}
	}()
	_, _ = fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", MaxMessage)
	_, _ = w.WriteString("x")
	time.Sleep(50 * time.Millisecond)
	m.AtMost(hostile.Usage{Goroutines: 2, Heap: 2 << 20})
	go func() { _, _ = w.Write(bytes.Repeat([]byte("x"), MaxMessage-1)) }()
	if n := <-got; n != MaxMessage {
		t.Errorf("%d bytes", n)
	}
	_, _ = w.WriteString("Content-Length: 2\r\n\r\n{}")
	<-got
	m.Settles(hostile.Usage{Goroutines: 2, Heap: 2 << 20})
	_ = pipe.Close()
	for range got {
	}
}

// Floods of everything that a peer may say leave nothing behind.
func TestFloods(t *testing.T) {
	for name := range transports {
		t.Run(name, func(t *testing.T) {
			p := hostilePeer(t, name, true)
			go func() { // links are taken, as the carrier takes them
				for {
					select {
					case l := <-p.fake.links:
						_, _ = l.ReadFrame()
					case <-p.server.Done():
						return
					}
				}
			}()
			m := hostile.NewMeter(t)
			const rounds = 2000
			for i := range rounds {
				p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"link/open","params":{"kind":"command"}}`, 10*i+1)
				_ = p.WriteFrame([]byte("for nobody"), nil)
				p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"link/close","params":{"reason":"x"}}`, 10*i+2)
				_ = p.WriteFrame([]byte("after the end"), nil)
				p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"no/such"}`, 10*i+3)
				p.say(t, `{"jsonrpc":"2.0","method":"no/such","params":{}}`)
				p.say(t, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}`, i)
				p.say(t, `{"jsonrpc":"2.0","id":%d,"result":{}}`, i)
				p.say(t, `{"jsonrpc":"2.0","id":%d,"method":"session/status"}`, 10*i+4)
			}
			p.awaitReply(t, fmt.Sprintf(`"id":%d`, 10*(rounds-1)+3))
			p.mu.Lock()
			p.replies = nil
			p.mu.Unlock()
			m.Settles(hostile.Usage{Goroutines: maxConcurrent, Heap: 2 << 20})
		})
	}
}
