package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGateway answers as the contract says, without a gateway behind it.
type fakeGateway struct {
	links     chan *Link
	cancelled chan struct{}
}

func newFake() *fakeGateway {
	return &fakeGateway{links: make(chan *Link, 8), cancelled: make(chan struct{}, 8)}
}

func (f *fakeGateway) SetLogLevel(level string) error {
	if level != "debug" {
		return errors.New("unknown level")
	}
	return nil
}
func (f *fakeGateway) AttachLink(l *Link)                          { f.links <- l }
func (f *fakeGateway) CloseSession(context.Context) error          { return nil }
func (f *fakeGateway) DialLinks(context.Context, DirectLink) error { return nil }
func (f *fakeGateway) WatchFlows(context.Context) error            { return nil }
func (f *fakeGateway) IgnoreFlows(context.Context) error           { return nil }
func (f *fakeGateway) OpenSession(context.Context, GatewayOpenParams) (GatewayOpenResult, error) {
	return GatewayOpenResult{Session: "ab"}, nil
}
func (f *fakeGateway) SetResources(context.Context, ResourcesParams) (ResourcesResult, error) {
	return ResourcesResult{}, errors.New("the list is wrong")
}
func (f *fakeGateway) AnswerApprovals(context.Context, ApprovalAnswers) (ResourcesResult, error) {
	return ResourcesResult{}, nil
}
func (f *fakeGateway) TestResource(ctx context.Context, _ TestParams) (TestResult, error) {
	<-ctx.Done()
	f.cancelled <- struct{}{}
	return TestResult{}, ctx.Err()
}
func (f *fakeGateway) ClientArguments(context.Context, ClientParams) (ClientArguments, error) {
	return ClientArguments{}, nil
}
func (f *fakeGateway) CheckHealth(context.Context) (GatewayStatus, error) {
	return GatewayStatus{}, nil
}
func (f *fakeGateway) Status(context.Context) (GatewayStatus, error) {
	return GatewayStatus{State: StateWaiting}, nil
}

// stdioPair returns two pipes joined by real ones.
func stdioPair(t *testing.T) (a, b Pipe) {
	t.Helper()
	r1, w1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return NewStdio(r1, w2), NewStdio(r2, w1)
}

func webSocketPair(t *testing.T) (a, b Pipe) {
	t.Helper()
	got := make(chan Pipe)
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		got <- NewWebSocket(c)
		<-done
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(done) })
	c, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return <-got, NewWebSocket(c)
}

var transports = map[string]func(*testing.T) (Pipe, Pipe){"stdio": stdioPair, "websocket": webSocketPair}

// conversation serves a fake gateway and returns a conn that drives it.
func conversation(t *testing.T, name string, id Identity) (*Conn, *Conn, *fakeGateway) {
	t.Helper()
	a, b := transports[name](t)
	f := newFake()
	server := ServeGateway(a, id, f)
	b.Raise()
	client := newConn(b, nil, nil)
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		client.Wait()
		server.Wait()
	})
	return client, server, f
}

var hello = InitializeParams{Protocol: Range{Oldest, Current}, Client: ClientInfo{"test", "0"}}

func wantCode(t *testing.T, err error, code int64, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("error %v, want code %d with %q", err, code, text)
	}
}

func TestConversation(t *testing.T) {
	for name := range transports {
		t.Run(name, func(t *testing.T) {
			c, _, f := conversation(t, name, Identity{Token: "secret"})
			ctx := t.Context()
			wantCode(t, c.Call(ctx, MethodSessionStatus, nil, nil), CodeNotInitialized, "initialize first")
			withToken := hello
			withToken.Token = "secret"
			future := withToken
			future.Protocol = Range{Current + 1, Current + 2}
			wantCode(t, c.Call(ctx, MethodInitialize, future, nil), CodeVersion, "update the helper")
			if err := c.Call(ctx, MethodInitialize, withToken, nil); err != nil {
				t.Fatal(err)
			}
			var s GatewayStatus
			if err := c.Call(ctx, MethodSessionStatus, nil, &s); err != nil || s.State != StateWaiting {
				t.Fatalf("status %+v, %v", s, err)
			}
			wantCode(t, c.Call(ctx, "no/such", nil, nil), -32601, "no/such")
			wantCode(t, c.Call(ctx, MethodResourceTest, map[string]any{"resource": 7}, nil), -32602, "wrong parameters")
			wantCode(t, c.Call(ctx, MethodSetLogLevel, LogLevelParams{"loud"}, nil), -32602, "unknown level")
			wantCode(t, c.Call(ctx, MethodResourcesSet, ResourcesParams{}, nil), -32603, "the list is wrong")
			err := c.Call(ctx, MethodApprovalsSet, ApprovalAnswers{}, nil)
			if name == "stdio" && err != nil {
				t.Errorf("approval over stdio: %v", err)
			}
			if name == "websocket" {
				wantCode(t, err, CodeNotAllowed, "helper itself")
			}
			short, cancel := context.WithCancel(ctx)
			go func() { time.Sleep(20 * time.Millisecond); cancel() }()
			if err := c.Call(short, MethodResourceTest, TestParams{}, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled call: %v", err)
			}
			<-f.cancelled
		})
	}
}

func TestWrongTokenEndsTheConversation(t *testing.T) {
	for name := range transports {
		c, server, _ := conversation(t, name, Identity{Token: "secret"})
		wantCode(t, c.Call(t.Context(), MethodInitialize, hello, nil), CodeUnauthorized, "token is wrong")
		<-server.Done()
	}
}

func TestFramesBelongToTheNewestLink(t *testing.T) {
	for name := range transports {
		t.Run(name, func(t *testing.T) {
			c, _, f := conversation(t, name, Identity{})
			if err := c.Call(t.Context(), MethodInitialize, hello, nil); err != nil {
				t.Fatal(err)
			}
			first, err := c.OpenLink(t.Context(), "command")
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				if err := first.WriteFrame([]byte("old")); err != nil {
					t.Fatal(err)
				}
			}
			second, err := c.OpenLink(t.Context(), "command")
			if err != nil {
				t.Fatal(err)
			}
			if err := first.WriteFrame(nil); err == nil {
				t.Error("the older link still writes")
			}
			big := bytes.Repeat([]byte{7}, 256<<10)
			for range 50 {
				go func() { _ = c.Call(context.Background(), MethodSessionStatus, nil, nil) }()
			}
			go func() {
				for range 20 {
					_ = second.WriteFrame(big)
				}
			}()
			// A link is handed over after the reply, so the older one may come last.
			l := <-f.links
			if other := <-f.links; l.ended() {
				l = other
			}
			for range 20 {
				if b, err := l.ReadFrame(); err != nil || !bytes.Equal(b, big) {
					t.Fatalf("frame of %d bytes, %v", len(b), err)
				}
			}
			_ = l.WriteFrame([]byte("back"))
			if b, err := second.ReadFrame(); err != nil || string(b) != "back" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
}

func TestTooManyCallsAreRefused(t *testing.T) {
	c, _, f := conversation(t, "stdio", Identity{})
	if err := c.Call(t.Context(), MethodInitialize, hello, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, maxConcurrent+1)
	for range maxConcurrent + 1 {
		go func() { results <- c.Call(ctx, MethodResourceTest, TestParams{}, nil) }()
	}
	wantCode(t, <-results, CodeBusy, "too many")
	cancel()
	for range maxConcurrent {
		<-results
		<-f.cancelled
	}
}

func TestGarbageEndsTheConversation(t *testing.T) {
	for name, input := range map[string]string{
		"no header":   "hello\r\n\r\n",
		"no length":   "Content-Type: x\r\n\r\n",
		"huge":        "Content-Length: 99999999999\r\n\r\n",
		"large frame": fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n\r\n", frameType, MaxFrame+1),
		"long line":   strings.Repeat("x", 100_000),
		"many lines":  strings.Repeat("a: b\r\n", 100),
		"truncated":   "Content-Length: 10\r\n\r\nhalf",
		"no JSON":     "Content-Length: 4\r\n\r\nhalf",
		"deep":        fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 100_000, strings.Repeat("[", 100_000)),
		"batch":       "Content-Length: 2\r\n\r\n[]",
	} {
		t.Run(name, func(t *testing.T) {
			_, w := io.Pipe()
			c := ServeGateway(NewStdio(io.NopCloser(strings.NewReader(input)), w), Identity{}, newFake())
			<-c.Done()
			if c.Err() == nil {
				t.Error("ended without a reason")
			}
			_ = c.Close()
			c.Wait()
		})
	}
}

func TestEndOfStdinIsOrderly(t *testing.T) {
	_, w := io.Pipe()
	c := ServeGateway(NewStdio(io.NopCloser(strings.NewReader("")), w), Identity{}, newFake())
	<-c.Done()
	if err := c.Err(); err != nil {
		t.Errorf("ended with %v", err)
	}
	_ = c.Close()
	c.Wait()
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("Content-Length: 3\r\n\r\nabc"))
	f.Add([]byte("Content-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, isFrame, err := readHeader(bufio.NewReader(bytes.NewReader(b)))
		if err == nil && (n < 0 || n > MaxMessage || isFrame && n > MaxFrame) {
			t.Fatalf("accepted a length of %d", n)
		}
	})
}

func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"protocol":{"min":1,"max":1}}`))
	f.Add([]byte(`{"id":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var id CancelParams
		_ = json.Unmarshal(b, &id)
		_, _ = serve(func(_ context.Context, p InitializeParams) (int, error) { return Negotiate(Range{1, 2}, p.Protocol) })(context.Background(), b)
	})
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		ours, theirs Range
		want         int
	}{
		{Range{4, 5}, Range{4, 5}, 5}, {Range{4, 5}, Range{3, 4}, 4}, {Range{4, 5}, Range{5, 6}, 5},
		{Range{4, 5}, Range{6, 7}, 0}, {Range{4, 5}, Range{2, 3}, 0}, {Range{1, 1}, Range{0, 0}, 0}, {Range{1, 1}, Range{2, 1}, 0},
	} {
		if got, err := Negotiate(c.ours, c.theirs); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%v with %v: %d, %v; want %d", c.ours, c.theirs, got, err, c.want)
		}
	}
}

func (l *Link) ended() bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}
