//go:build linux

package e2e

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/shim"
)

// held is an open flow to echo.
func held(t *testing.T) net.Conn {
	t.Helper()
	c, err := world.Cloud.Dial(t.Context(), "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0]+":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	answers(t, c, "open")
	return c
}

// answers wants what is said over a flow to echo to come back.
func answers(t *testing.T, c net.Conn, what string) {
	t.Helper()
	echoes(t, c)(what)
}

// isReset wants a flow to end with a reset.
func isReset(t *testing.T, what string, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s ends with %v, want a reset", what, err)
	}
}

// isAborted wants a flow to end as those of a device that is gone do.
func isAborted(t *testing.T, what string, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("%s ends with %v, want an abort", what, err)
	}
}

// TestHelperKilled kills the helper behind the shims: whoever drives it is told,
// flows are reset, the remote is clean, and the next session is there at once.
func TestHelperKilled(t *testing.T) {
	before := hostsFile(t)
	for _, role := range []string{"capture", "gateway"} {
		t.Run(role, func(t *testing.T) {
			d := drive(t)
			d.direct()
			byName, byProxy := held(t), throughProxy(t, d)
			defer byProxy.Close()
			answers(t, byProxy, "open")
			if err := syscall.Kill(d.background(role).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			attached := map[string]*shim.Helper{"capture": d.Capture, "gateway": d.Gateway}[role]
			select {
			case <-attached.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("the shim does not tell")
			}
			if role == "gateway" {
				_ = d.Capture.Close() // as the companion does when its session is over
			}
			if role == "capture" { // its device goes with it, and the kernel ends what went there
				isAborted(t, "a flow by name", byName, 2*time.Second)
			} else {
				isReset(t, "a flow by name", byName, 2*time.Second)
			}
			isReset(t, "a flow through the proxy", byProxy, 2*time.Second)
			eventually(t, 2*time.Second, "the remote is clean", func() bool { return hostsFile(t) == before })
			_ = d.Close()
			drive(t)
			mustCloud(t, 10*time.Second, "curl -sS -o /dev/null http://web.corp.test/")
		})
	}
}

// TestHelpersAreAbandoned kills the shims and starts no others: the helpers wait
// as long as was asked for, end what they have, and go.
func TestHelpersAreAbandoned(t *testing.T) {
	before := hostsFile(t)
	d := driveWith(t, shim.Settings{ResumeSeconds: 3, Resources: `[{"name": "echo", "host": "echo.corp.test", "ports": [7]}]`})
	d.direct() // the link itself outlives them
	c := held(t)
	d.Gateway.Kill()
	d.Capture.Kill()
	start := time.Now()
	answers(t, c, "nobody drives")
	isReset(t, "an abandoned flow", c, time.Minute)
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it was given up after %v", took)
	}
	eventually(t, 4*time.Second, "the remote is clean", func() bool { return hostsFile(t) == before })
	eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
}

// TestNewestTakesOver has another shim with the right to the session come while
// the one before is still there, as a host does that was given up for lost: the
// older one is told and has no say any more, and flows notice nothing.
func TestNewestTakesOver(t *testing.T) {
	d := drive(t)
	c := held(t)
	older := d.Capture
	d.Cut() // what it says reaches nobody any more
	if err := d.Join(t.Context(), startHelper(t, "capture"), true); err != nil {
		t.Fatal(err)
	}
	d.link()
	answers(t, c, "by the newer one")
	hasNoSay(t, older, c)
}

// hasNoSay checks that a shim was told that another has its session, and that what
// it does then is nothing to an echo over c.
func hasNoSay(t *testing.T, older *shim.Helper, c net.Conn) {
	t.Helper()
	eventually(t, 5*time.Second, "the older one is told", func() bool {
		st := older.Told()
		return st.State == "closed" && strings.Contains(st.Reason, "took the session over")
	})
	if err := older.Call(t.Context(), "session/close", nil, nil); err != nil {
		t.Error(err)
	}
	answers(t, c, "after the older one closed")
	if err := older.Close(); err != nil {
		t.Error(err)
	}
	answers(t, c, "after the older one left")
}

// TestFrozenWindowYields stops the shim that drives the session at the laptop, as
// a browser does with a page that nobody looks at: a new window on the workspace
// gets the session, and the frozen one has no say any more when it goes on.
func TestFrozenWindowYields(t *testing.T) {
	d := drive(t)
	c := held(t)
	frozen := d.Gateway
	if err := frozen.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Cmd.Process.Signal(syscall.SIGCONT) }()
	d.Cut() // another window has a channel of its own
	home, _ := strings.CutPrefix(frozen.Cmd.Env[len(frozen.Cmd.Env)-1], "HOME=")
	another := startProgram(t, helper, "gateway", home)
	if err := d.Return(t.Context(), another); err == nil {
		t.Fatal("the session was taken from a window that is silent for a moment only")
	}
	if err := another.Call(t.Context(), "session/close", nil, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 45*time.Second, "the session changes hands", func() bool {
		if d.Return(t.Context(), another) == nil {
			return true
		}
		_ = another.Call(t.Context(), "session/close", nil, nil)
		time.Sleep(time.Second)
		return false
	})
	d.link()
	answers(t, c, "by the newer one")
	if err := frozen.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	hasNoSay(t, frozen, c)
}

// TestOtherGatewayIsRefused has the gateway of another session, which has another
// secret, dial the port for direct links of this one.
func TestOtherGatewayIsRefused(t *testing.T) {
	d := drive(t)
	d.direct()
	c := held(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other, err := shim.Open(ctx, startHelper(t, "gateway"), startHelper(t, "capture"), shim.Settings{Resources: `[]`})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	port := d.relay.Addr().(*net.TCPAddr).Port
	for range 3 {
		if err := other.Dial(ctx, port); err == nil {
			t.Error("it was let in")
		}
	}
	if st, err := other.Status(ctx); err != nil || st.Link.Kind != "command" {
		t.Errorf("the other session goes by %q, %v", st.Link.Kind, err)
	}
	eventually(t, 5*time.Second, "it is logged and counted", func() bool {
		log := d.Capture.Log.String()
		return strings.Count(log, "direct link not taken") == 3 && strings.Contains(log, `"refused":3`)
	})
	answers(t, c, "unharmed")
	d.reach("direct")
}
