// Package terminal asks the user of a helper at its own terminal, and makes text
// from elsewhere fit to be shown there.
package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/term"
)

// Terminal asks the user at the helper's own terminal, one question at a time.
type Terminal struct {
	out  io.Writer
	turn chan struct{} // holds a value while a question waits for its answer

	mu     sync.Mutex
	asked  *asked    // the question that waits; nil if none does
	gone   time.Time // when a question was withdrawn
	closed chan struct{}
}

// asked is a question at the terminal.
type asked struct {
	ready time.Time // a line before it may be meant for a question that was withdrawn
	lines chan string
	over  chan struct{} // closed when nobody reads lines any more
}

// Open returns the terminal that stdin is; nil if stdin is none. Questions go to
// stderr.
func Open(stdin io.Reader, stderr io.Writer) *Terminal {
	in, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	t := newTerminal(stderr)
	// Ends with the process: nothing can cancel a read of a terminal.
	go t.read(in)
	return t
}

func newTerminal(out io.Writer) *Terminal {
	return &Terminal{out: out, turn: make(chan struct{}, 1), closed: make(chan struct{})}
}

// read passes each line on to the question that waits. A line that comes without a
// question is no answer to the next one.
func (t *Terminal) read(in io.Reader) {
	defer close(t.closed)
	s := bufio.NewScanner(in)
	for s.Scan() {
		t.mu.Lock()
		q := t.asked
		t.mu.Unlock()
		if q == nil {
			continue
		}
		line := strings.TrimSpace(s.Text())
		if time.Now().Before(q.ready) {
			line = "" // is asked again
		}
		select {
		case q.lines <- line:
		case <-q.over:
		}
	}
}

var errClosed = errors.New("the terminal is closed")

// Ask shows text and returns the answer, which is one of words. The user may type
// the first letter of a word instead.
func (t *Terminal) Ask(ctx context.Context, text string, words ...string) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	q := &asked{lines: make(chan string), over: make(chan struct{}), ready: t.readyAt()}
	defer close(q.over)
	t.wait(q)
	defer t.wait(nil)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		_, _ = fmt.Fprintf(t.out, "%s [%s] ", text, strings.Join(words, "/"))
		select {
		case line := <-q.lines:
			for _, w := range words {
				if strings.EqualFold(line, w) || strings.EqualFold(line, w[:1]) {
					return w, nil
				}
			}
		case <-t.closed:
			return "", errClosed
		case <-ctx.Done():
			_, _ = fmt.Fprintln(t.out, "(no longer asked)")
			t.withdraw()
			return "", context.Cause(ctx)
		}
	}
}

// grace is how long a question that follows a withdrawn one takes no answer.
const grace = 700 * time.Millisecond

func (t *Terminal) withdraw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = time.Now()
}

// readyAt returns when a question that is asked now takes an answer.
func (t *Terminal) readyAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.gone) < grace {
		return now.Add(grace)
	}
	return now
}

func (t *Terminal) wait(q *asked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = q
}

// Printable cuts and escapes text from other programs.
func Printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return tunnel.Clean(s)
}

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
