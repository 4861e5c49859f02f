//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
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
	cmd := world.Cloud.CommandAs(context.Background(), world.Info().Users[lab.Dev], helper, role, "--stdio", "--log-level=debug")
	if role == "gateway" {
		cmd = world.Laptop.Command(context.Background(), helper, role, "--stdio", "--log-level=debug")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
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
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := shim.Open(ctx, startHelper(t, "gateway"), startHelper(t, "capture"), `[
		{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "echo", "host": "echo.corp.test", "ports": [7]}
	]`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
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

func TestTransfersSurviveCuts(t *testing.T) {
	const size = 1 << 30
	for _, how := range []string{"one link", "four links"} {
		t.Run(how, func(t *testing.T) {
			d := drive(t)
			cut, mend := d.Cut, d.link
			if how == "four links" {
				d.direct()
				d.relay.Slow(32<<20, 0) // each, so that several carry more
				d.Cut()
				cut, mend = d.relay.Cut, d.relay.Resume
			}
			start := time.Now()
			running, wait := transfers(t, size)
			cuts, links := 0, 0
			for ; cuts < 10 && running(); cuts++ {
				// Not before links have had the time to become several.
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
				for end := time.Now().Add(9 * time.Second); how == "four links" && links < 4 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
					st, _ := d.Status(t.Context())
					links = max(links, st.Link.Links)
				}
				cut()
				time.Sleep(pause())
				mend()
			}
			wait()
			t.Logf("%d cuts, %s, at most %d links", cuts, time.Since(start).Round(time.Second), links)
			if cuts < 10 {
				t.Errorf("it was over after %d cuts", cuts)
			}
			if how == "four links" && links < 4 {
				t.Errorf("at most %d links", links)
			}
		})
	}
}

// TestTransactionSurvives holds a transaction and 200 flows open through a cut
// and through a stall, in which nothing says that anything is wrong.
func TestTransactionSurvives(t *testing.T) {
	d := drive(t)
	d.direct()
	d.Cut() // nothing but the direct link carries
	pg := world.Info().Postgres
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	psql := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], "psql", "-h", pg.Host, "-U", pg.User, "-d", pg.Database, "-Atq", "-v", "ON_ERROR_STOP=1")
	psql.Env = append(psql.Env, "PGPASSWORD="+pg.Password)
	in, _ := psql.StdinPipe()
	out, _ := psql.StdoutPipe()
	psql.Stderr = psql.Stdout
	if err := psql.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	ask := func(sql, want string) {
		t.Helper()
		_, _ = io.WriteString(in, sql+"\n")
		if got, err := answers.ReadString('\n'); strings.TrimSpace(got) != want {
			t.Fatalf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
	ask("create table survives (n int); begin; insert into survives values (1); select 'open';", "open")

	flows := make([]net.Conn, 200)
	for i := range flows {
		c, err := world.Cloud.Dial(ctx, "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent hosts echo.corp.test"))[0]+":7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		flows[i] = c
	}
	echo := func() {
		t.Helper()
		for round := range 3 {
			for i, c := range flows {
				if _, err := fmt.Fprintf(c, "flow %d round %d\n", i, round); err != nil {
					t.Fatalf("flow %d: %v", i, err)
				}
			}
			for i, c := range flows {
				want := fmt.Sprintf("flow %d round %d\n", i, round)
				got := make([]byte, len(want))
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
					t.Fatalf("flow %d: %q, %v", i, got, err)
				}
			}
		}
	}
	echo()
	stall := 20 * time.Second
	if soak() {
		stall = time.Minute
	}
	for _, fault := range []struct {
		name  string
		begin func()
		lasts time.Duration
	}{{"cut", d.relay.Cut, 3 * time.Second}, {"stall", d.relay.Stall, stall}} {
		fault.begin()
		for _, c := range flows[:100] { // some have something under way
			_, _ = c.Write([]byte("during " + fault.name + "\n"))
		}
		time.Sleep(fault.lasts)
		d.relay.Resume()
		for i, c := range flows[:100] {
			want := "during " + fault.name + "\n"
			got := make([]byte, len(want))
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Fatalf("flow %d after the %s: %q, %v", i, fault.name, got, err)
			}
		}
		echo()
		ask("insert into survives values (2); select 'still';", "still")
	}
	ask("commit; select count(*) from survives;", "3")
	_ = in.Close()
	_ = psql.Wait()
}

// TestPromotion goes from command to direct and back while bytes flow.
func TestPromotion(t *testing.T) {
	d := drive(t)
	d.direct()
	running, wait := transfers(t, 1<<30)
	changes := 0
	for ; changes < 20 && running(); changes++ {
		d.relay.Cut()
		d.reach("command")
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		d.relay.Resume()
		d.reach("direct")
	}
	if changes < 20 {
		t.Errorf("it was over after %d changes", changes)
	}
	// While it goes direct, the shims carry next to nothing.
	before := d.Carried.Load()
	st := d.relay.State()
	wait()
	carried, direct := d.Carried.Load()-before, d.relay.State().Down+d.relay.State().Up-st.Down-st.Up
	t.Logf("%d changes; then %d bytes by the relay, %d by the shims", changes, direct, carried)
	if carried > direct/100+64<<10 {
		t.Errorf("the shims carried %d bytes beside %d that went direct", carried, direct)
	}
}

// TestLinkChanges replaces the link over and over: nothing grows.
func TestLinkChanges(t *testing.T) {
	d := drive(t)
	changes := 1000
	if soak() {
		changes = 10_000
	}
	c, err := world.Cloud.Dial(t.Context(), "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent hosts echo.corp.test"))[0]+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	change := func(n int) {
		t.Helper()
		for i := range n {
			d.link()
			if i%10 == 0 {
				_, _ = c.Write([]byte("0123456789"))
				got := make([]byte, 10)
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte("0123456789")) {
					t.Fatalf("after %d changes: %q, %v", i, got, err)
				}
			}
		}
	}
	use := func() (u [2]usage) {
		for i, role := range []string{"gateway", "capture"} {
			pids := running(role, "--background")
			if len(pids) != 1 {
				t.Fatalf("%s helpers in the background: %v", role, pids)
			}
			u[i] = usageOf(pids[0])
		}
		return u
	}
	change(changes / 5)
	before := use()
	change(changes)
	after := use()
	t.Logf("%d changes: %+v, then %+v", changes, before, after)
	for i := range before {
		if after[i].files > before[i].files+2 || after[i].threads > before[i].threads+8 || after[i].residentMiB > before[i].residentMiB+8 {
			t.Errorf("it grows: %+v, then %+v", before[i], after[i])
		}
	}
}

// TestFrontsComeAndGo kills the processes that the editor started and starts
// others: the session goes on, and one that is gone for good is told.
func TestFrontsComeAndGo(t *testing.T) {
	d := drive(t)
	addr := strings.Fields(mustCloud(t, 5*time.Second, "getent hosts echo.corp.test"))[0]
	c, err := world.Cloud.Dial(t.Context(), "tcp", addr+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo := func(what string) {
		t.Helper()
		_, _ = io.WriteString(c, what)
		got := make([]byte, len(what))
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != what {
			t.Fatalf("%q, %v", got, err)
		}
	}
	echo("at first")
	d.Capture.Kill()
	if err := d.Join(t.Context(), startHelper(t, "capture"), true); err != nil {
		t.Fatal(err)
	}
	d.link()
	echo("another front of the capture")

	// A front with another secret gets nothing, and does no harm.
	thief := startHelper(t, "capture")
	err = thief.Call(t.Context(), "session/open", map[string]any{"session": d.ID, "secret": strings.Repeat("00", 32), "resumed": true}, nil)
	if err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	err = thief.Call(t.Context(), "session/open", map[string]any{"session": strings.Repeat("00", 16), "secret": d.Secret, "resumed": true}, nil)
	var refused *shim.Error
	if !errors.As(err, &refused) || refused.Code != -32004 {
		t.Errorf("an unknown session: %v", err)
	}
	_ = thief.Close()
	echo("after the thief")

	// Another user does not get to the socket.
	sockets, _ := filepath.Glob(filepath.Join(world.Info().Users[lab.Dev].Home, ".cache/causeway/run-*"))
	if len(sockets) != 1 {
		t.Fatalf("directories of helpers: %v", sockets)
	}
	other := world.Cloud.CommandAs(t.Context(), world.Info().Users["other"], helper, "sessions")
	other.Env = append(other.Env, "CAUSEWAY_RUNTIME_DIR="+sockets[0])
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("another user: %v\n%s", err, out)
	}

	// The user sees it, and can end it.
	list := mustCloud(t, 5*time.Second, helper+" sessions")
	if !strings.Contains(list, d.ID[:12]) || !strings.Contains(list, "connected") {
		t.Errorf("sessions:\n%s", list)
	}
	if status := mustCloud(t, 5*time.Second, helper+" status --json"); !strings.Contains(status, d.ID) || strings.Contains(status, d.Secret) {
		t.Errorf("status:\n%s", status)
	}
	mustCloud(t, 10*time.Second, helper+" sessions end "+d.ID[:8])
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the flow of an ended session: %v", err)
	}
	eventually(t, 2*time.Second, "the hosts file is clean", func() bool { return !strings.Contains(hostsFile(t), "echo.corp.test") })
}

// TestForgedLinks attacks the port for direct links: with nonsense, with another
// session's secret, and with what a true gateway has said before.
func TestForgedLinks(t *testing.T) {
	d := drive(t)
	port, err := d.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	far := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ln, err := world.Laptop.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var mu sync.Mutex
	var said bytes.Buffer // by the gateway
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := world.Cloud.Dial(context.Background(), "tcp", far)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					mu.Lock()
					said.Write(buf[:n])
					mu.Unlock()
					if _, werr := s.Write(buf[:n]); err != nil || werr != nil {
						_ = s.Close()
						return
					}
				}
			}()
		}
	}()
	if err := d.Dial(t.Context(), ln.Addr().(*net.TCPAddr).Port); err != nil {
		t.Fatal(err)
	}
	d.reach("direct")
	mu.Lock()
	recorded := bytes.Clone(said.Bytes())
	mu.Unlock()
	for name, bytes := range map[string][]byte{
		"a replay":          recorded,
		"half a replay":     recorded[:len(recorded)/2],
		"nonsense":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a frame too large": {0xff, 0xff, 0xff, 0xff, 1},
		"nothing":           {},
	} {
		c, err := world.Cloud.Dial(t.Context(), "tcp", far)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(bytes)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is not refused", name)
		}
		_ = c.Close()
	}
	d.reach("direct")
	mustCloud(t, 10*time.Second, "curl -sS -o /dev/null http://web.corp.test/")
	if n := strings.Count(d.Capture.Log.String(), "direct link not taken"); n < 5 {
		t.Errorf("%d refusals are logged", n)
	}
}
