package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
)

// status names the programs behind the flows of a resource, whatever they are called.
func TestStatusNamesPrograms(t *testing.T) {
	status, err := json.Marshal(rpc.GatewayStatus{State: rpc.StateConnected, Resources: []rpc.ResourceStatus{{
		Name: "orders", State: rpc.ResourceReady, Served: []string{"orders.test:5432"}, Clients: []rpc.Client{
			{User: "dev", PID: 4711, Program: "psql", Flows: 2},
			{User: "172.17.0.2 on docker0\x1b[2J", Flows: 1},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printStatus(&out, []*daemon.Running{{Role: "gateway", Sessions: []daemon.Session{{ID: "3f2a", Status: status}}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"psql (pid 4711, dev): 2 flows\n", "a program (172.17.0.2 on docker0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q", out.String())
	}
}

// status says in a table of words whether each resource works, and what several have in
// common.
func TestStatusTellsHealth(t *testing.T) { synctest.Test(t, tellsHealth) }

func tellsHealth(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	status, err := json.Marshal(rpc.GatewayStatus{
		State: rpc.StateConnected, Trouble: []string{"Is the VPN on? 2 resources do not resolve or answer."},
		Resources: []rpc.ResourceStatus{
			{Name: "up", State: rpc.ResourceReady, Served: []string{"up.test:80"}, Health: &rpc.Health{State: rpc.HealthWorks, Since: at, Checked: &at, Millis: 12}},
			{Name: "lost", State: rpc.ResourceReady, Health: &rpc.Health{State: rpc.HealthFails, Step: "resolve", Detail: "no such name\x1b[2J", Since: at, Checked: &at}},
			{Name: "fresh", State: rpc.ResourceReady, Health: &rpc.Health{State: rpc.HealthUnknown, Since: at}},
			{Name: "asked", State: rpc.ResourcePending},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	list := func(context.Context) ([]*daemon.Running, error) {
		if out.Len() > 0 {
			cancel()
		}
		return []*daemon.Running{{Role: "gateway", Sessions: []daemon.Session{{ID: "3f2a", Status: status}}}}, nil
	}
	if err := watchStatus(ctx, false, &out, list); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"trouble Is the VPN on? 2 resources do not resolve or answer.",
		"up works up.test:80 since 03:04:05, last checked at 03:04:05, 12 ms",
		"lost fails since 03:04:05, last checked at 03:04:05: resolve: no such name",
		"fresh ready asked pending",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an escape of the remote reaches the terminal")
	}

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	out.Reset()
	if err := watchStatus(ctx, true, &out, list); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !json.Valid([]byte(lines[0])) {
		t.Errorf("%q", lines)
	}
}
