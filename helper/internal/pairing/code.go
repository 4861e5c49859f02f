package pairing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/coder/websocket"
)

// A page without the token pairs by a code: it opens a WebSocket to
// /pair?code=CODE and shows the code to the user. The helper asks the user
// whether the editor shows this code. If so, the page gets {"token": "..."}.
// Otherwise the WebSocket closes with the reason.
const pairPath = "/pair"

const (
	maxCodes    = 3 // pages that wait for the user at the same time
	maxCodeTime = 3 * time.Minute
	afterNo     = 30 * time.Second // before a refused page may ask again
	maxRefused  = 100              // pages that the helper remembers to have refused
)

// The letters and digits cannot be taken for each other.
var codeForm = regexp.MustCompile(`^[2-9A-HJ-NP-Z]{4}$`)

// codes has the pages that pair by a code now, by origin, and when the user refused
// others.
type codes struct {
	mu      sync.Mutex
	waiting map[string]bool
	refused map[string]time.Time
}

// begin lets a page wait for the user. The error says why it may not.
func (c *codes) begin(origin string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case time.Since(c.refused[origin]) < afterNo:
		return errors.New("you refused this page: try again in half a minute")
	case c.waiting[origin]:
		return errors.New("another window of this page waits for your answer: answer it or cancel it first")
	case len(c.waiting) >= maxCodes:
		return errors.New("other pages wait for your answer: answer the helper first")
	}
	if c.waiting == nil {
		c.waiting = map[string]bool{}
	}
	c.waiting[origin] = true
	return nil
}

func (c *codes) end(origin string, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, origin)
	if !refused {
		return
	}
	if c.refused == nil || len(c.refused) >= maxRefused {
		c.refused = map[string]time.Time{}
	}
	c.refused[origin] = time.Now()
}

// pair serves a page that shows a code.
func (l *Listener) pair(c *websocket.Conn, r *http.Request, origin string) {
	refuse := func(reason string) { _ = c.Close(websocket.StatusPolicyViolation, reason) }
	code := r.URL.Query().Get("code")
	if !codeForm.MatchString(code) {
		refuse("this is no pairing code")
		return
	}
	if err := l.codes.begin(origin); err != nil {
		refuse(err.Error())
		return
	}
	ctx, cancel := context.WithTimeoutCause(c.CloseRead(r.Context()), cmp.Or(l.codeTime, maxCodeTime), errors.New("the code has expired: try again"))
	defer cancel()
	err := l.confirm(ctx, origin, code)
	l.codes.end(origin, errors.Is(err, errRefused))
	if err != nil {
		refuse(err.Error())
		return
	}
	token, err := json.Marshal(map[string]string{"token": l.Pairing.Token()})
	if err == nil && c.Write(ctx, websocket.MessageText, token) == nil {
		_ = c.Close(websocket.StatusNormalClosure, "")
	}
}

var errRefused = errors.New("the user did not allow this page")

// confirm asks the user about a page that shows a code.
func (l *Listener) confirm(ctx context.Context, origin, code string) error {
	question := fmt.Sprintf("\nA page from %s wants to use this helper. It shows the code %s.\nAnswer yes only if your editor shows the same code. Let it use this helper?",
		terminal.Printable(origin), code)
	answer, err := l.User.Ask(ctx, question, "yes", "no")
	switch {
	case err != nil:
		return err
	case answer != "yes":
		return errRefused
	}
	return l.Pairing.allow(origin)
}
