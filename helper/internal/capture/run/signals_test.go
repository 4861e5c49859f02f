//go:build linux && (amd64 || arm64)

package run

import "testing"

// Calls that never wait in the kernel do not fail with EINTR because of the time that
// the supervisor takes.
func TestUnblocked(t *testing.T) {
	for _, only := range []bool{false, true} {
		r := newRig(t)
		if got, want := r.probe(only, r.far(), "unblocked"), "unblocked: EINPROGRESS <nil> <nil>"; got != want {
			t.Errorf("only=%v:\ngot  %s\nwant %s", only, got, want)
		}
	}
}

// Calls that wait are interrupted by signals as in the kernel: at once, and made
// again where the handler says so.
func TestWaiting(t *testing.T) {
	for name, want := range map[string]string{
		"waiting":       "waiting: limited EINTR unlimited EINTR true <nil> hello datagram <nil>true EINTR",
		"waiting again": "waiting again: limited EINTR unlimited <nil> hello datagram <nil>true <nil>",
	} {
		for _, restricted := range []bool{false, true} {
			r := newRig(t)
			r.restricted = restricted
			said, rest := r.started(name)
			if said != "release" {
				t.Errorf("%s, restricted=%v: says %q", name, restricted, said)
			}
			close(r.release)
			if got := rest(); got != want {
				t.Errorf("restricted=%v:\ngot  %s\nwant %s", restricted, got, want)
			}
		}
	}
}
