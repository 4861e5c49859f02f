package terminal

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	var out bytes.Buffer
	term := &Terminal{out: &out, lines: make(chan string, 4)}
	for _, line := range []string{"maybe", "", "N"} {
		term.lines <- line
	}
	if got, err := term.Ask(t.Context(), "Sure?", "yes", "no"); err != nil || got != "no" {
		t.Errorf("%q, %v", got, err)
	}
	if n := strings.Count(out.String(), "Sure? [yes/no] "); n != 3 {
		t.Errorf("asked %d times: %q", n, out.String())
	}
	gone := errors.New("the window has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
	if _, err := term.Ask(ctx, "Sure?", "yes", "no"); !errors.Is(err, gone) {
		t.Errorf("after the window has gone: %v", err)
	}
	close(term.lines)
	if _, err := term.Ask(t.Context(), "Sure?", "yes", "no"); !errors.Is(err, errClosed) {
		t.Errorf("after the end of the terminal: %v", err)
	}
	if Open(strings.NewReader("yes\n"), &out) != nil {
		t.Error("a reader counts as a terminal")
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
