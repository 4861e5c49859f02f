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

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/term"
)

// Terminal asks the user at the helper's own terminal, one question at a time.
type Terminal struct {
	out   io.Writer
	lines chan string
	mu    sync.Mutex // held while a question waits for its answer
}

// Open returns the terminal that stdin is; nil if stdin is none. Questions go to
// stderr.
func Open(stdin io.Reader, stderr io.Writer) *Terminal {
	in, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	t := &Terminal{out: stderr, lines: make(chan string)}
	go func() {
		// Ends with the process: nothing can cancel a read of a terminal.
		defer close(t.lines)
		s := bufio.NewScanner(in)
		for s.Scan() {
			t.lines <- strings.TrimSpace(s.Text())
		}
	}()
	return t
}

var errClosed = errors.New("the terminal is closed")

// Ask shows text and returns the answer, which is one of words. The user may type
// the first letter of a word instead.
func (t *Terminal) Ask(ctx context.Context, text string, words ...string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		_, _ = fmt.Fprintf(t.out, "%s [%s] ", text, strings.Join(words, "/"))
		select {
		case line, ok := <-t.lines:
			if !ok {
				return "", errClosed
			}
			for _, w := range words {
				if strings.EqualFold(line, w) || strings.EqualFold(line, w[:1]) {
					return w, nil
				}
			}
		case <-ctx.Done():
			_, _ = fmt.Fprintln(t.out, "(no longer asked)")
			return "", context.Cause(ctx)
		}
	}
}

// Printable cuts and escapes text from other programs.
func Printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return tunnel.Clean(s)
}
