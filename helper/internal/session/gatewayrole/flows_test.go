package gatewayrole

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// message is a message of the helper, as a driver reads it.
type message struct {
	ID     *int           `json:"id"`
	Method string         `json:"method"`
	Params rpc.FlowsDelta `json:"params"`
	Error  *struct {
		Code    int
		Message string
	} `json:"error"`
}

// driving is a driver over a pipe.
type driving struct {
	t        *testing.T
	pipe     rpc.Pipe
	messages chan message
}

func (d *driving) call(id int, method, params string) {
	d.t.Helper()
	if err := d.pipe.WriteMessage([]byte(`{"jsonrpc":"2.0","id":` + string(rune('0'+id)) + `,"method":"` + method + `","params":` + params + `}`)); err != nil {
		d.t.Fatal(err)
	}
	for m := range d.messages {
		if m.ID != nil && *m.ID == id {
			if m.Error != nil {
				d.t.Fatalf("%s: %s", method, m.Error.Message)
			}
			return
		}
	}
	d.t.Fatalf("%s: the conversation has ended", method)
}

// deltas counts the notifications of the flows during a time.
func (d *driving) deltas(within time.Duration) (all []rpc.FlowsDelta) {
	for after := time.After(within); ; {
		select {
		case m := <-d.messages:
			if m.Method == rpc.NotifyFlows {
				all = append(all, m.Params)
			}
		case <-after:
			return all
		}
	}
}

// A driver hears of the flows only while it has subscribed, and at most four times per
// second.
func TestSubscribeFlows(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	r1, w1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	role := New(zerolog.Nop(), rpc.HelperInfo{})
	served := make(chan error, 1)
	go func() { served <- role.Serve(t.Context(), rpc.NewStdio(r1, w2), nil) }()
	d := &driving{t, rpc.NewStdio(r2, w1), make(chan message, 100)}
	go func() {
		defer close(d.messages)
		for {
			b, _, err := d.pipe.Read()
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal(b, &m) == nil {
				d.messages <- m
			}
		}
	}()
	d.pipe.Raise()
	d.call(1, rpc.MethodInitialize, `{"protocol":{"min":1,"max":1},"client":{"name":"test","version":"1"}}`)
	d.call(2, rpc.MethodSessionOpen, `{"authority":"a","workspace":"w","resources":[],"workspaceResources":[]}`)
	if got := d.deltas(300 * time.Millisecond); len(got) != 0 {
		t.Errorf("%d notifications before the subscription", len(got))
	}
	d.call(3, rpc.MethodFlowsWatch, `null`)
	got := d.deltas(1500 * time.Millisecond)
	if len(got) == 0 || len(got) > 6 || !got[0].Reset {
		t.Fatalf("in 1.5 s: %+v", got)
	}
	for _, later := range got[1:] {
		if later.Reset {
			t.Error("a later notification begins anew")
		}
	}
	d.call(4, rpc.MethodFlowsIgnore, `null`)
	d.deltas(100 * time.Millisecond)
	if got := d.deltas(1500 * time.Millisecond); len(got) != 0 {
		t.Errorf("%d notifications after the subscription", len(got))
	}
	d.call(5, rpc.MethodFlowsWatch, `null`)
	d.call(6, rpc.MethodSessionClose, `null`)
	_ = d.pipe.Close()
	for range d.messages { // until the conversation has ended
	}
	<-served
}

// A refusal names the resource that waits for the user.
func TestRefusalNamesWhatWaits(t *testing.T) {
	list, problems := resource.Parse("resources", []byte(`[{"name": "wiki", "host": "*.corp.test", "ports": [443]}]`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := &Session{review: consent.Review{Pending: []consent.Proposal{{Resource: list[0]}}}}
	for _, c := range []struct {
		refusal journal.Refusal
		want    string
	}{
		{journal.Refusal{Network: "tcp", Host: "wiki.corp.test", Port: 443, Code: "denied"}, "wiki"},
		{journal.Refusal{Network: "dns", Host: "wiki.corp.test", Port: 1, Code: "denied"}, "wiki"},
		{journal.Refusal{Network: "tcp", Host: "wiki.corp.test", Port: 80, Code: "denied"}, ""},
		{journal.Refusal{Network: "tcp", Host: "wiki.corp.test", Port: 443, Code: "denied", Resource: "other"}, ""},
		{journal.Refusal{Network: "tcp", Host: "wiki.corp.test", Port: 443, Code: "timed out"}, ""},
	} {
		if got := s.waitingFor(c.refusal); got != c.want {
			t.Errorf("%+v: %q, want %q", c.refusal, got, c.want)
		}
	}
}
