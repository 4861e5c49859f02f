package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
)

const (
	maxPreamble = 64 << 10 // bytes that a command may print before the helper speaks
	maxEcho     = 1 << 10  // bytes of the first message that are looked at for an echo
)

// marker is how the first message of a helper begins.
var marker = regexp.MustCompile(`Content-Length: [0-9]+\r\n`)

// echoed is a part of this side's first message. A terminal sends it back.
var echoed = []byte(`"method":"initialize"`)

var errTerminal = errors.New("the link has a terminal, which changes the bytes that pass through it: " +
	"run the command without one, as with \"docker exec -i\" instead of -it, \"ssh -T\", or \"RequestTTY no\" in the ssh configuration")

// preamble is the stdout of a link's command without the text that comes before the
// helper's first message: a login shell, the message of the day or a banner may
// print some. It is read by one goroutine.
type preamble struct {
	io.ReadCloser
	tell func(text []byte) // called once with that text, unless it is empty

	before []byte // text so far; nil after the marker
	rest   []byte // read, but not returned
	found  bool

	mu    sync.Mutex
	first []byte // beginning of the first message
}

func (p *preamble) Read(b []byte) (int, error) {
	for !p.found {
		part := make([]byte, 4<<10)
		n, err := p.ReadCloser.Read(part)
		p.before = append(p.before, part[:n]...)
		if at := marker.FindIndex(p.before); at != nil {
			p.found = true
			p.report(p.before[:at[0]])
			p.rest, p.before = p.before[at[0]:], nil
			break
		}
		if err == nil && len(p.before) > maxPreamble {
			err = fmt.Errorf("the command printed more than %d bytes, and no helper has spoken", maxPreamble)
		}
		if err != nil {
			p.report(p.before)
			p.before = nil
			return 0, err
		}
	}
	var n int
	var err error
	if len(p.rest) > 0 {
		n = copy(b, p.rest)
		p.rest = p.rest[n:]
	} else {
		p.rest = nil
		n, err = p.ReadCloser.Read(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if room := maxEcho - len(p.first); room > 0 {
		p.first = append(p.first, b[:min(n, room)]...)
	}
	return n, err
}

func (p *preamble) report(text []byte) {
	if text = bytes.TrimSpace(text); len(text) > 0 {
		p.tell(text)
	}
}

// echoes reports whether the first message is one of this side's own.
func (p *preamble) echoes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.first, echoed)
}

// maxPrinted bounds the text of a command in a line of the log, in bytes.
const maxPrinted = 2 << 10

// printed cuts text for the log. The log's writers escape it.
func printed(text []byte) string {
	if len(text) > maxPrinted {
		return string(text[:maxPrinted]) + "…"
	}
	return string(text)
}
