package rpc

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is one file of test/protocol, which the extensions' tests read too.
type golden struct {
	Role         string          `json:"role"` // "" for both
	Method       string          `json:"method"`
	Notification bool            `json:"notification"`
	Params       json.RawMessage `json:"params"`
	Result       json.RawMessage `json:"result"`
}

// shapes has the parameters and the result of each method, by role and name.
var shapes = map[string][2]any{
	"initialize":                    {new(InitializeParams), new(InitializeResult)},
	"log/setLevel":                  {new(LogLevelParams), nil},
	"gateway session/open":          {new(GatewayOpenParams), new(GatewayOpenResult)},
	"capture session/open":          {new(CaptureOpenParams), nil},
	"resources/set":                 {new(ResourcesParams), new(ResourcesResult)},
	"approvals/answer":              {new(ApprovalAnswers), new(ResourcesResult)},
	"resource/test":                 {new(TestParams), new(TestResult)},
	"gateway health/check":          {nil, new(GatewayStatus)},
	"client/arguments":              {new(ClientParams), new(ClientArguments)},
	"gateway session/status":        {nil, new(GatewayStatus)},
	"gateway session/statusChanged": {new(GatewayStatus), nil},
	"capture session/status":        {nil, new(CaptureStatus)},
	"capture session/statusChanged": {new(CaptureStatus), nil},
	"session/close":                 {nil, nil},
	"link/open":                     {new(LinkParams), nil},
	"capture link/listen":           {nil, new(DirectLink)},
	"gateway link/dial":             {new(DirectLink), nil},
	"link/close":                    {new(LinkClosed), nil},
	"link/closed":                   {new(LinkClosed), nil},
	"gateway flows/subscribe":       {nil, nil},
	"gateway flows/unsubscribe":     {nil, nil},
	"gateway flows/changed":         {new(FlowsDelta), nil},
	"approvals/changed":             {new(ResourcesResult), nil},
	"log/message":                   {new(LogMessage), nil},
	"$/cancelRequest":               {new(CancelParams), nil},
}

func TestGoldenMessages(t *testing.T) {
	files, err := filepath.Glob("../../../test/protocol/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden messages: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			if err := json.Unmarshal(b, &g); err != nil {
				t.Fatal(err)
			}
			key := strings.TrimSpace(g.Role + " " + g.Method)
			seen[key] = true
			shape, ok := shapes[key]
			if !ok {
				t.Fatalf("%q is no method of this protocol", key)
			}
			sameShape(t, "params", g.Params, shape[0])
			if !g.Notification {
				sameShape(t, "result", g.Result, shape[1])
			}
		})
	}
	for key := range shapes {
		if !seen[key] {
			t.Errorf("there is no golden message for %q", key)
		}
	}
}

// sameShape fails unless raw decodes into v without a rest and encodes to the same.
func sameShape(t *testing.T, what string, raw json.RawMessage, v any) {
	t.Helper()
	if v == nil {
		if string(raw) != "null" && raw != nil {
			t.Errorf("%s are %s, want none", what, raw)
		}
		return
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	_ = json.Unmarshal(raw, &want)
	_ = json.Unmarshal(again, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-file +Go):\n%s", what, diff)
	}
}
