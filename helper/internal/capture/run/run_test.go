//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (r *rig) direct() string { return fmt.Sprintf("127.0.0.1,::1,%d,%d,%d", r.tcp, r.udp, r.closed) }
func (r *rig) far() string {
	return fmt.Sprintf("%s,%s,%d,%d,%d", farHost, farHost6, r.tcp, r.udp, r.closed)
}

// TestConformance compares what programs see of sockets with and without run.
func TestConformance(t *testing.T) {
	r := newRig(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, only := range []bool{false, true} {
		for _, p := range probes {
			t.Run(fmt.Sprintf("%s/%s", mode(only), p.name), func(t *testing.T) {
				r.t = t
				out, err := exec.CommandContext(t.Context(), exe, "probe", r.direct(), p.name).CombinedOutput()
				if err != nil {
					t.Fatalf("direct: %v\n%s", err, out)
				}
				carried := r.probe(only, r.far(), p.name)
				if diff := cmp.Diff(strings.TrimSpace(string(out)), carried); diff != "" {
					t.Errorf("direct (-) and carried (+) differ:\n%s", diff)
				}
				t.Log(carried)
			})
		}
	}
}
