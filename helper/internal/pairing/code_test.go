package pairing

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"
)

// desk is a user whose answers the test gives.
type desk struct {
	asked   chan string
	answers chan string
}

func newDesk() *desk { return &desk{asked: make(chan string, 10), answers: make(chan string)} }

func (d *desk) Ask(ctx context.Context, question string, _ ...string) (string, error) {
	d.asked <- question
	select {
	case a := <-d.answers:
		return a, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// show opens the WebSocket of a page that shows a code. It returns what the page gets,
// or the reason of the refusal.
func show(t *testing.T, at, origin, code string) func() (token string, reason string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	o := &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Origin": {origin}}}
	c, r, err := websocket.Dial(t.Context(), "ws://"+at+pairPath+"?code="+url.QueryEscape(code), o)
	if err != nil {
		t.Fatalf("%v %v", r, err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return func() (string, string) {
		_, text, err := c.Read(t.Context())
		if ended, ok := errors.AsType[websocket.CloseError](err); ok {
			return "", ended.Reason
		}
		return string(text), ""
	}
}

func paired(t *testing.T) (at string, p *Pairing, user *desk) {
	t.Helper()
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	user = newDesk()
	return listen(t, &Listener{Log: zerolog.Nop(), Pairing: p, User: user}), p, user
}

func TestCode(t *testing.T) {
	at, p, user := paired(t)
	const origin = "https://name.github.dev"
	page := show(t, at, origin, "K7PQ")
	if q := <-user.asked; !strings.Contains(q, origin) || !strings.Contains(q, "K7PQ") {
		t.Errorf("%q", q)
	}
	// Neither another window of the page nor more pages than the user can oversee wait.
	if _, reason := show(t, at, origin, "ABCD")(); !strings.Contains(reason, "another window") {
		t.Errorf("a second window: %q", reason)
	}
	var others []func() (string, string)
	for i := range maxCodes - 1 {
		others = append(others, show(t, at, "https://other"+string(rune('a'+i))+".test", "ABCD"))
		<-user.asked
	}
	if _, reason := show(t, at, "https://one.more.test", "ABCD")(); !strings.Contains(reason, "other pages") {
		t.Errorf("one page more: %q", reason)
	}
	for _, other := range others {
		user.answers <- "no"
		_ = other
	}
	user.answers <- "no"
	refused := 0
	for _, page := range append(others, page) {
		if token, reason := page(); token == "" && strings.Contains(reason, "did not allow") {
			refused++
		}
	}
	if refused != maxCodes || p.knows(origin) {
		t.Errorf("%d pages were refused", refused)
	}
	if _, reason := show(t, at, origin, "K7PQ")(); !strings.Contains(reason, "half a minute") {
		t.Errorf("again at once: %q", reason)
	}
	page = show(t, at, "https://fine.test", "K7PQ")
	<-user.asked
	user.answers <- "yes"
	if token, reason := page(); !strings.Contains(token, p.Token()) || !p.knows("https://fine.test") {
		t.Errorf("%q, %q", token, reason)
	}
}

func TestWrongCodes(t *testing.T) {
	at, _, user := paired(t)
	for _, code := range []string{"", "K7P", "K7PQ2", "k7pq", "K7P0", "K7P\n", "<b>x", strings.Repeat("A", 3000)} {
		if token, reason := show(t, at, "https://name.test", code)(); token != "" || !strings.Contains(reason, "no pairing code") {
			t.Errorf("%q: %q, %q", code, token, reason)
		}
	}
	if len(user.asked) > 0 {
		t.Errorf("the user was asked: %q", <-user.asked)
	}
}

// The code of a page that has gone, or that nobody answers, is void.
func TestCodeExpires(t *testing.T) {
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	user := newDesk()
	l := &Listener{Log: zerolog.Nop(), Pairing: p, User: user, codeTime: 1}
	at := listen(t, l)
	if token, reason := show(t, at, "https://name.test", "K7PQ")(); token != "" || !strings.Contains(reason, "expired") {
		t.Errorf("%q, %q", token, reason)
	}
	if p.knows("https://name.test") {
		t.Error("the page may connect")
	}
}
