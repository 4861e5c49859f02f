package cli

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

// terminal asks the user at the helper's own terminal, one question at a time.
type terminal struct {
	out   io.Writer
	lines chan string
	mu    sync.Mutex // held while a question stands
}

// openTerminal returns nil if there is nobody to ask.
func openTerminal(e *env) *terminal {
	in, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	t := &terminal{out: e.stderr, lines: make(chan string)}
	go func() {
		// Ends with the process: a read of a terminal cannot be called off.
		defer close(t.lines)
		s := bufio.NewScanner(in)
		for s.Scan() {
			t.lines <- strings.TrimSpace(s.Text())
		}
	}()
	return t
}

var errNobody = errors.New("the terminal is closed")

// ask shows text and returns the answer, one of the given words or its first letter.
func (t *terminal) ask(ctx context.Context, text string, words ...string) (string, error) {
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
				return "", errNobody
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

// printable cuts and escapes what came from elsewhere.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return tunnel.Clean(s)
}
