package cli

import (
	"encoding/json"
	"strings"
	"testing"

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
	e := &env{stdout: &out}
	if err := e.printStatus([]*daemon.Running{{Role: "gateway", Sessions: []daemon.Session{{ID: "3f2a", Status: status}}}}); err != nil {
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
