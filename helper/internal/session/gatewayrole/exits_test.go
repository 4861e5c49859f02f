package gatewayrole

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver returns a conversation without a pipe; the user approves in its protocol.
func driver(t *testing.T, log zerolog.Logger) *conversation {
	t.Helper()
	r := New(log, rpc.HelperInfo{})
	t.Cleanup(func() { r.EndAll(session.ErrEnding) })
	return &conversation{Driver: r.NewDriver(log, nil), role: r}
}

// What is approved is where the exit leads, not only what it is called.
func TestExitIsApproved(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	root := "/home/me/"
	if runtime.GOOS == "windows" {
		root = `C:\\me\\`
	}
	params := func(exits string) rpc.ResourcesParams {
		return rpc.ResourcesParams{
			Resources: json.RawMessage(`[{"host": "a.test", "ports": [80], "exit": "office"}, {"host": "b.test", "ports": [80], "exit": "none"}]`),
			Exits:     json.RawMessage(exits),
		}
	}
	file := func(name string) string { return `{"office": {"type": "wireguard", "file": "` + name + `"}}` }
	h := driver(t, zerolog.Nop())
	p := params(file(root + "office.conf"))
	opened, err := h.OpenSession(t.Context(), rpc.GatewayOpenParams{Authority: "a", Workspace: "w", Resources: p.Resources, Exits: p.Exits})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.CloseSession(t.Context()) }()
	only := func(r rpc.ResourcesResult, problem string) rpc.Approval {
		t.Helper()
		if len(r.Approvals) > 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Message, problem) {
			t.Fatalf("%+v", r)
		}
		if len(r.Approvals) == 0 {
			return rpc.Approval{}
		}
		return r.Approvals[0]
	}
	const unknown = `"b.test" names the exit "none", which causeway.exits does not have`
	a := only(opened.ResourcesResult, unknown)
	if !strings.HasPrefix(a.Exit, "office: wireguard ") || !strings.Contains(a.Exit, "office.conf") {
		t.Errorf("the approval shows %q", a.Exit)
	}
	if r, err := h.AnswerApprovals(t.Context(), rpc.ApprovalAnswers{Answers: []rpc.ApprovalAnswer{{ID: a.ID, Decision: rpc.DecisionAlways}}}); err != nil || only(r, unknown).ID != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	set := func(exits string) rpc.ResourcesResult {
		t.Helper()
		r, err := h.SetResources(t.Context(), params(exits))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a := only(set(file(root+"office.conf")), unknown); a.ID != "" {
		t.Errorf("what was allowed is asked for again: %+v", a)
	}
	a = only(set(file(root+"other.conf")), unknown)
	if a.Change != "changed" || len(a.Differences) != 1 || a.Differences[0].Field != "exit" {
		t.Errorf("another file: %+v", a)
	}
	if a := only(set(`{"office": {"type": "proxy", "url": "socks5://proxy.test:1080"}}`), unknown); a.Change != "changed" {
		t.Errorf("another kind: %+v", a)
	}
	for exits, problem := range map[string]string{
		file("office.conf"): "absolute path", `{"office": 5}`: "must be an object", `[]`: "must be an object", `null`: "does not have",
	} {
		r := set(exits)
		if len(r.Approvals) > 0 || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].Message, problem) {
			t.Errorf("%s: %+v", exits, r)
		}
	}
}

// Who resolves is part of what is approved, with what that means, and only a
// proxy can.
func TestExitThatResolvesIsApproved(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	h := driver(t, zerolog.Nop())
	open := func(exits string) rpc.ResourcesResult {
		t.Helper()
		r, err := h.OpenSession(t.Context(), rpc.GatewayOpenParams{
			Authority: "a", Workspace: "w", Fresh: true, Exits: json.RawMessage(exits),
			Resources: json.RawMessage(`[{"host": "a.test", "ports": [80], "exit": "jump", "resolve": "exit"}]`),
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = h.CloseSession(t.Context())
		return r.ResourcesResult
	}
	r := open(`{"jump": {"type": "proxy", "url": "http://proxy.test:3128"}}`)
	if len(r.Approvals) != 1 || !slices.ContainsFunc(r.Approvals[0].Warnings, func(w string) bool { return strings.Contains(w, "judges no address") }) {
		t.Errorf("%+v", r)
	}
	r = open(`{"jump": {"type": "wireguard", "file": "` + filepath.ToSlash(t.TempDir()) + `/x.conf"}}`)
	if len(r.Approvals) != 0 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Message, "for exits of type proxy") {
		t.Errorf("%+v", r)
	}
}

// TestCredentials is the way from the shim, and from a file, to the exits.
func TestCredentials(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	var log bytes.Buffer
	h := driver(t, zerolog.New(&log))
	h.pre.Credentials = map[string]resource.Credentials{"http://file.test:1": {User: "file", Password: "hunter2"}, "http://proxy.test:2": {User: "old", Password: "x"}}
	p := rpc.GatewayOpenParams{Authority: "a", Workspace: "w", Credentials: json.RawMessage(`{"http://proxy.test:2": {"user": "me", "password": "hunter2"}}`)}
	if _, err := h.OpenSession(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.CloseSession(t.Context()) }()
	user := func(proxy string) string {
		s, err := h.open()
		if err != nil {
			t.Fatal(err)
		}
		c, _ := machine{credentials: &s.exits.credentials}.Credentials(proxy)
		return c.User
	}
	if got := user("http://file.test:1") + " " + user("http://proxy.test:2") + " " + user("http://other.test:3"); got != "file me " {
		t.Errorf("%q", got)
	}
	r, err := h.SetResources(t.Context(), rpc.ResourcesParams{Credentials: json.RawMessage(`{"hunter2": "hunter2"}`)})
	if err != nil || len(r.Problems) == 0 || strings.Contains(fmt.Sprint(r), "hunter2") {
		t.Errorf("%v %v", r, err)
	}
	if got := user("http://proxy.test:2"); got != "old" {
		t.Errorf("after they were taken back: %q", got)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("the log has a password")
	}
}
