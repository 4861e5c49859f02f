package gatewayrole

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// desk is a user who answers questions with the words that are put into it.
type desk chan string

func (d desk) Ask(ctx context.Context, _ string, _ ...string) (string, error) {
	select {
	case word := <-d:
		return word, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// However often a page sets its resources, a session asks in one goroutine, and asks for
// everything that becomes pending.
func TestSessionAsksOnce(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	h := driver(t, zerolog.Nop())
	user := make(desk)
	h.user = user
	if _, err := h.OpenSession(t.Context(), rpc.GatewayOpenParams{Authority: "a", Workspace: "w"}); err != nil {
		t.Fatal(err)
	}
	defer h.role.EndAll(errors.New("the test is over"))
	s, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	set := func(names ...string) {
		t.Helper()
		for i, name := range names {
			names[i] = fmt.Sprintf(`{"name": %q, "host": "%s.test", "ports": [1]}`, name, name)
		}
		if _, err := h.SetResources(t.Context(), rpc.ResourcesParams{Resources: json.RawMessage("[" + strings.Join(names, ",") + "]")}); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() {
		t.Helper()
		select {
		case user <- string(consent.No):
		case <-time.After(5 * time.Second):
			t.Fatal("the user is not asked")
		}
	}
	nothingPending := func() {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			s.mu.Lock()
			pending := len(s.review.Pending)
			s.mu.Unlock()
			if pending == 0 {
				return
			}
			if time.Now().After(end) {
				t.Fatal("a resource is still pending")
			}
		}
	}
	set("a")
	before := runtime.NumGoroutine()
	for range 50 {
		set("a")
	}
	if n := runtime.NumGoroutine() - before; n > 10 {
		t.Errorf("50 calls added %d goroutines", n)
	}
	set("a", "b") // while the user is asked for a
	answer()
	answer()
	nothingPending()
	for i := range 300 { // just when the session stops to ask
		set(fmt.Sprint("c", i))
		answer()
		nothingPending()
	}
}
