package gatewayrole

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// A session that runs notices that another process has revoked an approval.
func TestSessionNoticesRevocation(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	h := driver(t, zerolog.Nop())
	opened, err := h.OpenSession(t.Context(), rpc.GatewayOpenParams{
		Authority: "a", Workspace: "w", Resources: json.RawMessage(`[{"name": "db", "host": "db.test", "ports": [5432]}]`),
	})
	if err != nil || len(opened.Approvals) != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	defer func() { _ = h.CloseSession(t.Context()) }()
	answers := rpc.ApprovalAnswers{Answers: []rpc.ApprovalAnswer{{ID: opened.Approvals[0].ID, Decision: rpc.DecisionAlways}}}
	if _, err := h.AnswerApprovals(t.Context(), answers); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		s, err := h.Status(t.Context())
		if err != nil || len(s.Resources) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Resources[0].State
	}
	if s := state(); s == rpc.ResourcePending {
		t.Fatal("approved, and pending")
	}
	time.Sleep(time.Second) // the watch has seen the file with the approval
	path, err := consent.Path()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consent.Revoke(path, func(consent.Entry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); state() != rpc.ResourcePending; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the revoked resource is still served")
		}
	}
}
