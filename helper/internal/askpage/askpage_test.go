package askpage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a page with a server, and what the helper opened.
type served struct {
	*Page
	at     string
	opened chan string
	client *http.Client
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{opened: make(chan string, 100), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	s.at = srv.URL
	addr, err := netip.ParseAddrPort(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s.Page, err = New(zerolog.Nop(), addr, filepath.Join(t.TempDir(), "causeway", "ask.html"), func(file string) error {
		s.opened <- file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// call sends a request as the page does, unless header says otherwise.
func (s *served) call(t *testing.T, method, path, body string, header map[string]string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.at+Path+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.secret)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(text)
}

type news struct {
	Version   int
	Questions []question
}

func (s *served) news(t *testing.T, after int) news {
	t.Helper()
	status, text := s.call(t, "GET", "questions?after="+strconv.Itoa(after), "", nil)
	var n news
	if err := json.Unmarshal([]byte(text), &n); status != http.StatusOK || err != nil {
		t.Fatalf("%d %q, %v", status, text, err)
	}
	return n
}

func (s *served) reply(t *testing.T, id, word string) int {
	t.Helper()
	body, err := json.Marshal(map[string]string{"id": id, "word": word})
	if err != nil {
		t.Fatal(err)
	}
	status, _ := s.call(t, "POST", "answer", string(body), nil)
	return status
}

func TestAnswer(t *testing.T) {
	s := serve(t)
	type result struct {
		word string
		err  error
	}
	done := make(chan result, 1)
	ask := func(ctx context.Context) {
		go func() {
			word, err := s.Ask(ctx, "\nSure?", "yes", "no")
			done <- result{word, err}
		}()
	}
	ask(t.Context())
	file := <-s.opened
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), s.URL()) {
		t.Fatalf("%q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the secret: %v, %v", info, err)
	}
	n := s.news(t, -1)
	if len(n.Questions) != 1 || n.Questions[0].Text != "Sure?" || len(n.Questions[0].Words) != 2 {
		t.Fatalf("%+v", n)
	}
	id := n.Questions[0].ID
	for _, wrong := range [][2]string{{"x", "yes"}, {id, "maybe"}, {id, ""}} {
		if status := s.reply(t, wrong[0], wrong[1]); status != http.StatusConflict {
			t.Errorf("the answer %q: %d", wrong, status)
		}
	}
	if status := s.reply(t, id, "yes"); status != http.StatusNoContent {
		t.Errorf("the answer: %d", status)
	}
	if r := <-done; r.word != "yes" || r.err != nil {
		t.Errorf("%+v", r)
	}
	if status := s.reply(t, id, "no"); status != http.StatusConflict {
		t.Errorf("a second answer: %d", status)
	}
	// The page hears of the end of a question, also of one that nobody answered.
	n = s.news(t, n.Version)
	gone := errors.New("the window has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	ask(ctx)
	for len(n.Questions) == 0 {
		n = s.news(t, n.Version)
	}
	cancel(gone)
	if r := <-done; !errors.Is(r.err, gone) {
		t.Errorf("%+v", r)
	}
	if n = s.news(t, n.Version); len(n.Questions) != 0 {
		t.Errorf("%+v", n)
	}
	if len(s.opened) != 0 {
		t.Error("the page was opened although it is open")
	}
}

// A user who closes the page between two questions gets it again.
func TestPageOpensAgain(t *testing.T) {
	s := serve(t)
	s.mu.Lock()
	s.seen = time.Now() // the user has closed the page just now
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Ask(ctx, "Sure?", "yes", "no")
		done <- err
	}()
	select {
	case <-s.opened:
	case <-time.After(30 * time.Second):
		t.Error("the page does not open again")
	}
	cancel()
	<-done
}

// Only a page that has the secret, and is the helper's own, hears and answers.
func TestStrangers(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Ask(ctx, "Sure?", "yes", "no")
		done <- err
	}()
	id := s.news(t, 0).Questions[0].ID
	body := `{"id":"` + id + `","word":"yes"}`
	for name, tc := range map[string]struct {
		header map[string]string
		want   int
	}{
		"no secret":      {map[string]string{"Authorization": ""}, http.StatusUnauthorized},
		"a wrong secret": {map[string]string{"Authorization": "Bearer " + strings.Repeat("A", 26)}, http.StatusUnauthorized},
		"another origin": {map[string]string{"Origin": "https://evil.test"}, http.StatusForbidden},
		"a frame":        {map[string]string{"Origin": "null"}, http.StatusForbidden},
		"another port":   {map[string]string{"Origin": "http://127.0.0.1:1"}, http.StatusForbidden},
	} {
		for _, call := range []string{"POST answer", "GET questions"} {
			method, path, _ := strings.Cut(call, " ")
			if status, text := s.call(t, method, path, body, tc.header); status != tc.want || strings.Contains(text, id) {
				t.Errorf("%s, %s: %d %q", name, call, status, text)
			}
		}
	}
	// A preflight of a browser gets no permission.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.at+Path+"answer", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.test")
	r.Header.Set("Access-Control-Request-Headers", "authorization")
	w, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode == http.StatusOK || w.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight: %d %v", w.StatusCode, w.Header)
	}
	if status, _ := s.call(t, "POST", "answer", strings.Repeat(" ", 1<<20), nil); status != http.StatusBadRequest {
		t.Errorf("a large answer: %d", status)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("somebody has answered: %v", err)
	}
}

// No other page may frame the helper's page, and the page loads nothing from elsewhere.
func TestHeaders(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"", "page.js", "page.css"} {
		w, err := s.client.Get(s.at + Path + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(w.Body)
		_ = w.Body.Close()
		if w.StatusCode != http.StatusOK || len(text) == 0 || strings.Contains(string(text), s.secret) {
			t.Errorf("%q: %d", path, w.StatusCode)
		}
		for name, want := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
			if got := w.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%q: %s is %q", path, name, got)
			}
		}
	}
	if status, _ := s.call(t, "GET", "../pairing.json", "", nil); status == http.StatusOK {
		t.Error("it serves files")
	}
	s.Close()
	if _, err := os.Stat(s.file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// Questions and polls without end are bounded, and one page is opened for many.
func TestBounds(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	const many = 3 * maxShown
	done := make(chan error, many)
	for range many {
		go func() {
			_, err := s.Ask(ctx, "Sure?", "yes", "no")
			done <- err
		}()
	}
	n := s.news(t, 0)
	for len(n.Questions) < maxShown {
		n = s.news(t, n.Version)
	}
	if len(n.Questions) != maxShown {
		t.Errorf("%d questions are shown", len(n.Questions))
	}
	<-s.opened
	if len(s.opened) > 0 {
		t.Error("a second page was opened")
	}
	busy := 0
	polls := make(chan int, 2*maxPolls)
	for range 2 * maxPolls {
		go func() {
			status, _ := s.call(t, "GET", "questions?after="+strconv.Itoa(n.Version), "", nil)
			polls <- status
		}()
	}
	for range maxPolls {
		if <-polls == http.StatusServiceUnavailable {
			busy++
		}
	}
	if busy != maxPolls {
		t.Errorf("%d of %d polls were refused", busy, 2*maxPolls)
	}
	cancel()
	for range many {
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a question does not end")
		}
	}
	for range maxPolls {
		if status := <-polls; status != http.StatusOK {
			t.Errorf("a poll: %d", status)
		}
	}
}
