//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// driven is a session whose links the test makes and breaks.
type driven struct {
	*shim.Session
	t     *testing.T
	relay *lab.Relay // stands for the port that an editor forwards; nil before direct
}

func startHelper(t *testing.T, role string) *shim.Helper {
	t.Helper()
	return startProgram(t, helper, role, t.TempDir())
}

// startProgram starts a shim of program, the gateway's with home as its user's.
func startProgram(t *testing.T, program, role, home string) *shim.Helper {
	t.Helper()
	cmd := world.Cloud.CommandAs(context.Background(), world.Info().Users[lab.Dev], program, role, "--stdio", "--log-level=debug")
	if role == "gateway" {
		cmd = world.Laptop.Command(context.Background(), program, role, "--stdio", "--log-level=debug")
		cmd.Env = append(os.Environ(), "HOME="+home)
	}
	h, err := shim.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// drive opens a session with a command link.
func drive(t *testing.T) *driven {
	t.Helper()
	return driveWith(t, shim.Settings{Resources: driveResources})
}

const driveResources = `[
	{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
	{"name": "web", "host": "web.corp.test", "ports": [80]},
	{"name": "echo", "host": "echo.corp.test", "ports": [7]}
]`

func driveWith(t *testing.T, settings shim.Settings) *driven {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := shim.Open(ctx, startHelper(t, "gateway"), startHelper(t, "capture"), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
		if t.Failed() {
			t.Logf("gateway:\n%s\ncapture:\n%s", s.Gateway.Log, s.Capture.Log)
		}
	})
	return &driven{Session: s, t: t}
}

// direct makes the session go direct, by a relay for the port that an editor
// would forward.
func (d *driven) direct() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	port, err := d.Listen(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	ln, err := world.Laptop.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.relay = lab.NewRelay(ln, func(ctx context.Context) (net.Conn, error) {
		return world.Cloud.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	})
	d.t.Cleanup(func() { _ = d.relay.Close() })
	if err := d.Dial(ctx, ln.Addr().(*net.TCPAddr).Port); err != nil {
		d.t.Fatal(err)
	}
	d.reach("direct")
}

// background is what the helper of a role says of itself, as a user asks it.
func (d *driven) background(role string) (h struct {
	Role            string
	PID, Goroutines int
	Sessions        []struct {
		ID, State string
		Driven    bool
	}
}) {
	d.t.Helper()
	cmd := world.Cloud.CommandAs(d.t.Context(), world.Info().Users[lab.Dev], helper, "sessions", "--json")
	if role == "gateway" {
		cmd = world.Laptop.Command(d.t.Context(), helper, "sessions", "--json")
		cmd.Env = d.Gateway.Cmd.Env
	}
	out, err := cmd.Output()
	all := []json.RawMessage{}
	if err := errors.Join(err, json.Unmarshal(out, &all)); err != nil || len(all) != 1 {
		d.t.Fatalf("%v\n%s", err, out)
	}
	if err := json.Unmarshal(all[0], &h); err != nil || h.Role != role {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return h
}

func (d *driven) reach(kind string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	if err := d.Reach(ctx, func(_, link string) bool { return link == kind }); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) link() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	if err := d.Link(ctx); err != nil {
		d.t.Fatal(err)
	}
}

// transfers runs a download and an upload at once and checks their sums when
// the returned function is called.
func transfers(t *testing.T, size int) (running func() bool, wait func()) {
	t.Helper()
	limit := 15 * time.Minute
	var left atomic.Int32
	var all sync.WaitGroup
	for _, script := range []string{
		fmt.Sprintf("curl -sS 'http://web.corp.test/bytes?n=%d&seed=7' | sha256sum; curl -sS 'http://web.corp.test/sha256?n=%[1]d&seed=7'", size),
		fmt.Sprintf("f=$(mktemp); head -c %d /dev/urandom >$f; sha256sum <$f; curl -sS -T $f http://web.corp.test/upload; rm $f", size),
	} {
		left.Add(1)
		all.Go(func() {
			defer left.Add(-1)
			out, err := cloud(t, limit, script)
			sums := strings.Fields(out)
			i := len(sums) - 1
			for ; i > 0 && len(sums[i]) != 64; i-- {
			}
			if err != nil || i < 1 || sums[0] != sums[i] {
				t.Errorf("%s: %v\n%s", script, err, out)
			}
		})
	}
	return func() bool { return left.Load() > 0 }, all.Wait
}

// pause is how long a link stays away.
func pause() time.Duration {
	most := 3 * time.Second
	if soak() {
		most = 30 * time.Second
	}
	return time.Second + rand.N(most-time.Second)
}
