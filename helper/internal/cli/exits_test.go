package cli

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

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
	h := newGatewayHelper(zerolog.Nop(), &gatewaySessions{log: zerolog.Nop()})
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
