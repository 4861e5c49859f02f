// Package askpage asks the user on a web page that the helper itself serves on its
// loopback port.
//
// Other users of the machine and other web pages reach that port too. So each request
// for questions and each answer must show a secret. Only the user's own browser gets
// it: the helper writes it into a file that only the user can read, and opens the file.
package askpage

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/lockfile"
	"github.com/rs/zerolog"
)

// Path is where the page begins on the helper's port.
const Path = "/ask/"

const (
	maxShown  = 16               // questions at the same time; others wait for their turn
	maxPolls  = 8                // requests that wait for news
	pollTime  = 20 * time.Second // before such a request gets an answer without news
	awayAfter = 5 * time.Second  // without a request that waits, nobody looks at the page
	lookEvery = 2 * time.Second  // whether somebody does
	loadTime  = 10 * time.Second // for a browser to load the page
	openEvery = 20 * time.Second // a page opens at most this often
	maxOpens  = 4                // some systems return from opening when the browser ends
)

// Page asks questions on a web page. New makes one.
type Page struct {
	log    zerolog.Logger
	addr   netip.AddrPort
	file   string
	open   func(file string) error
	secret string
	slots  chan struct{}
	polls  chan struct{}
	opens  chan struct{}

	mu      sync.Mutex
	version int
	changed chan struct{} // closed when version grows
	shown   []*question
	waiting int       // requests of pages that wait for news
	seen    time.Time // the last request of a page with the secret
	opened  time.Time
	warned  bool // that nobody has loaded the page since it was opened
}

type question struct {
	ID    string   `json:"id"`
	Text  string   `json:"text"`
	Words []string `json:"words"`

	answer chan string // holds one
}

// New returns the page for a helper that listens at the loopback address addr. It writes file,
// which leads to the page and which only the user can read. Open shows a file in the
// user's browser; nil: the user opens the file. Close removes the file.
func New(log zerolog.Logger, addr netip.AddrPort, file string, open func(file string) error) (*Page, error) {
	p := &Page{log: log, addr: addr, file: file, open: open, secret: rand.Text(),
		slots: make(chan struct{}, maxShown), polls: make(chan struct{}, maxPolls),
		opens: make(chan struct{}, maxOpens), changed: make(chan struct{})}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("make the page for questions: %w", err)
	}
	text := fmt.Sprintf("<!doctype html>\n<meta charset=utf-8>\n<title>Causeway</title>\n<meta http-equiv=refresh content=\"0;url=%s\">\n", p.URL())
	if err := lockfile.Replace(file, []byte(text)); err != nil {
		return nil, fmt.Errorf("make the page for questions: %w", err)
	}
	return p, nil
}

// URL is the page's address, with the secret. Only the user may see it.
func (p *Page) URL() string {
	return fmt.Sprintf("http://%s%s#%s", p.addr, Path, p.secret)
}

// Close removes the file. Questions end with their contexts.
func (p *Page) Close() { _ = os.Remove(p.file) }

// Ask shows text and returns the user's answer, which is one of words. If nobody looks
// at the page, Ask opens it in the user's browser. It waits until there is an answer
// or ctx ends.
func (p *Page) Ask(ctx context.Context, text string, words ...string) (string, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	q := &question{ID: rand.Text(), Text: strings.TrimSpace(text), Words: words, answer: make(chan string, 1)}
	p.change(func() { p.shown = append(p.shown, q) })
	defer p.change(func() { p.shown = slices.DeleteFunc(p.shown, func(o *question) bool { return o == q }) })
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		p.show()
		select {
		case word := <-q.answer:
			return word, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-look.C: // the user may have closed the page
		}
	}
}

func (p *Page) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.version++
	close(p.changed)
	p.changed = make(chan struct{})
}

// show opens the page if nobody looks at it.
func (p *Page) show() {
	p.mu.Lock()
	now := time.Now()
	skip := p.open == nil || p.waiting > 0 || now.Sub(p.seen) < awayAfter || now.Sub(p.opened) < openEvery
	unseen := !p.opened.IsZero() && now.Sub(p.opened) > loadTime && p.seen.Before(p.opened) && !p.warned
	if unseen {
		p.warned = true
	}
	if !skip {
		p.opened = now
	}
	p.mu.Unlock()
	if unseen {
		p.log.Warn().Str("file", p.file).Msg("no browser has loaded the page for your answers: open this file in your browser")
	}
	if skip {
		return
	}
	select {
	case p.opens <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-p.opens }()
		if err := p.open(p.file); err != nil {
			p.log.Warn().Err(err).Str("file", p.file).Msg("open this file in your browser to answer the helper")
		}
	}()
}

//go:embed page.html
var pageHTML []byte

//go:embed page.js
var pageJS []byte

//go:embed page.css
var pageCSS []byte

// ServeHTTP implements http.Handler for Path and what is below it. The caller has
// verified that the Host header names this helper.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	file := func(kind string, content []byte) {
		h.Set("Content-Type", kind+"; charset=utf-8")
		_, _ = w.Write(content)
	}
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, Path) {
	case "GET ":
		file("text/html", pageHTML)
	case "GET page.js":
		file("text/javascript", pageJS)
	case "GET page.css":
		file("text/css", pageCSS)
	case "GET questions":
		p.authorized(p.questions)(w, r)
	case "POST answer":
		p.authorized(p.answer)(w, r)
	default:
		http.Error(w, "causeway: there is no such page", http.StatusNotFound)
	}
}

// authorized refuses requests that do not come from a page with the secret. A form or
// an image of another page cannot set the header, and the browser asks this server
// before a script of another page may.
func (p *Page) authorized(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != "" && origin != "http://"+p.addr.String() {
			http.Error(w, "causeway: another page may not answer", http.StatusForbidden)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+p.secret)) != 1 {
			http.Error(w, "causeway: this page belongs to a helper that has ended", http.StatusUnauthorized)
			return
		}
		p.mu.Lock()
		p.seen = time.Now()
		p.mu.Unlock()
		serve(w, r)
	}
}

// questions answers when there is something newer than the version that the page has.
func (p *Page) questions(w http.ResponseWriter, r *http.Request) {
	select {
	case p.polls <- struct{}{}:
		defer func() { <-p.polls }()
	default:
		http.Error(w, "causeway: too many of these pages are open", http.StatusServiceUnavailable)
		return
	}
	p.wait(1)
	defer p.wait(-1)
	had, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil {
		had = -1
	}
	timeout := time.NewTimer(pollTime)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		version, changed := p.version, p.changed
		shown := slices.Clone(p.shown)
		p.mu.Unlock()
		wait := version == had
		if wait {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			case <-timeout.C:
			}
		}
		if shown == nil {
			shown = []*question{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"version": version, "questions": shown})
		return
	}
}

// wait counts the requests that wait for news. A page that is closed ends its own.
func (p *Page) wait(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
	p.seen = time.Now()
}

var errAnswered = errors.New("nobody asks this any more")

func (p *Page) answer(w http.ResponseWriter, r *http.Request) {
	var a struct{ ID, Word string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&a); err != nil {
		http.Error(w, "causeway: this is no answer", http.StatusBadRequest)
		return
	}
	if err := p.take(a.ID, a.Word); err != nil {
		http.Error(w, "causeway: "+err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *Page) take(id, word string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.shown {
		if q.ID != id || !slices.Contains(q.Words, word) {
			continue
		}
		select {
		case q.answer <- word:
			return nil
		default:
		}
	}
	return errAnswered
}
