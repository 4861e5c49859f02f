package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	var out output
	term := newTerminal(&out)
	in, keys := io.Pipe()
	go term.read(in)
	enter := func(line string) { _, _ = io.WriteString(keys, line+"\n") }
	enter("yes") // nobody has asked yet
	time.Sleep(100 * time.Millisecond)
	ask := func(ctx context.Context) chan result {
		done := make(chan result, 1)
		before := out.count("[yes/no]")
		go func() {
			word, err := term.Ask(ctx, "Sure?", "yes", "no")
			done <- result{word, err}
		}()
		for out.count("[yes/no]") == before {
			time.Sleep(time.Millisecond)
		}
		return done
	}
	done := ask(t.Context())
	for _, line := range []string{"maybe", "", "N"} {
		enter(line)
	}
	if r := <-done; r.err != nil || r.word != "no" {
		t.Errorf("%+v", r)
	}
	if n := out.count("Sure? [yes/no] "); n != 3 {
		t.Errorf("asked %d times: %q", n, out.String())
	}
	gone := errors.New("the window has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	done = ask(ctx)
	waiting := make(chan result, 1)
	other, stop := context.WithCancelCause(t.Context())
	go func() {
		word, err := term.Ask(other, "Other?", "yes", "no")
		waiting <- result{word, err}
	}()
	stop(gone) // while another question is at the terminal
	if r := <-waiting; !errors.Is(r.err, gone) {
		t.Errorf("a question that waits for its turn: %+v", r)
	}
	cancel(gone)
	if r := <-done; !errors.Is(r.err, gone) {
		t.Errorf("after the window has gone: %+v", r)
	}
	enter("yes") // too late for the question that is gone
	time.Sleep(100 * time.Millisecond)
	done = ask(t.Context())
	before := out.count("[yes/no]")
	enter("yes") // may be meant for it too
	for out.count("[yes/no]") == before {
		time.Sleep(time.Millisecond)
	}
	_ = keys.Close()
	if r := <-done; !errors.Is(r.err, errClosed) {
		t.Errorf("after the end of the terminal: %+v", r)
	}
	if Open(strings.NewReader("yes\n"), &out) != nil {
		t.Error("a reader counts as a terminal")
	}
}

type result struct {
	word string
	err  error
}

// output is what a terminal shows.
type output struct {
	mu sync.Mutex
	bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.Write(p)
}

func (o *output) count(text string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Count(o.String(), text)
}

// place answers for the user, or waits until it is no longer asked.
type place struct {
	word string
	err  error
	left chan struct{} // closed when it is no longer asked
}

func (p place) Ask(ctx context.Context, _ string, _ ...string) (string, error) {
	if p.word == "" && p.err == nil {
		<-ctx.Done()
		close(p.left)
		return "", ctx.Err()
	}
	return p.word, p.err
}

// The first answer counts, and the other places have stopped asking by then.
func TestSeveral(t *testing.T) {
	broken := place{err: errors.New("broken")}
	waits := place{left: make(chan struct{})}
	word, err := Several{broken, waits, place{word: "yes"}}.Ask(t.Context(), "Sure?", "yes", "no")
	if word != "yes" || err != nil {
		t.Errorf("%q, %v", word, err)
	}
	select {
	case <-waits.left:
	default:
		t.Error("a place still asks after the answer")
	}
	if _, err := (Several{broken, broken}).Ask(t.Context(), "Sure?", "yes"); !errors.Is(err, broken.err) {
		t.Errorf("all places fail: %v", err)
	}
}

func TestPrintable(t *testing.T) {
	if got := Printable("a\x1b[2Jb\n"); strings.ContainsAny(got, "\x1b\n") || !strings.HasPrefix(got, "a") {
		t.Errorf("%q", got)
	}
	if got := Printable(strings.Repeat("x", 10_000)); len(got) > 300 {
		t.Errorf("%d bytes", len(got))
	}
}
