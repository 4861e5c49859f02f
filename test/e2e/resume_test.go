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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

func TestTransfersSurviveCuts(t *testing.T) {
	const size = 1 << 30
	for _, how := range []string{"one link", "four links"} {
		t.Run(how, func(t *testing.T) {
			d := drive(t)
			cut, mend := d.Cut, d.link
			if how == "four links" {
				d.direct()
				d.relay.Slow(32<<20, 5*time.Millisecond) // each, so that several carry more
				d.Cut()
				cut, mend = d.relay.Cut, d.relay.Resume
			}
			start := time.Now()
			running, wait := transfers(t, size)
			cuts, links := 0, 0
			for ; cuts < 10 && running(); cuts++ {
				// Not before links have had the time to become several.
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
				for end := time.Now().Add(15 * time.Second); how == "four links" && links < 4 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
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

// TestDirectLinksAddUp bounds what each connection to the forwarded port has in
// flight, as editors' channels do: the links of a session carry more than twice
// of what one connection does.
func TestDirectLinksAddUp(t *testing.T) {
	const delay, inFlight = 20 * time.Millisecond, 128 << 10
	d := drive(t)
	d.direct()
	d.Cut()

	far, err := world.Cloud.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, lab.Bytes(1))
	}()
	ln, err := world.Laptop.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	alone := lab.NewRelay(ln, func(ctx context.Context) (net.Conn, error) {
		return world.Cloud.Dial(ctx, "tcp", far.Addr().String())
	})
	defer alone.Close()
	for _, r := range []*lab.Relay{alone, d.relay} {
		r.Slow(0, delay)
		r.Bound(inFlight)
	}
	pace := func(r *lab.Relay) float64 {
		before, start := r.State(), time.Now()
		time.Sleep(2 * time.Second)
		now := r.State()
		return float64(now.Up+now.Down-before.Up-before.Down) / time.Since(start).Seconds()
	}
	c, err := world.Laptop.Dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	one := pace(alone)
	_ = c.Close()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	download := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], "curl", "-sS", "-o", "/dev/null", "http://web.corp.test/bytes?n=100000000000&seed=1")
	if err := download.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = download.Wait() }()
	all, links := 0.0, 0
	for end := time.Now().Add(time.Minute); all < 2*one && time.Now().Before(end); {
		all = pace(d.relay)
		st, err := d.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		links = st.Link.Links
	}
	t.Logf("one connection: %.1f MB/s, %d links: %.1f MB/s", one/1e6, links, all/1e6)
	if all < 2*one {
		t.Error("several links carry less than twice of what one does")
	}
}

// throughProxy opens a flow to echo by the session's proxy.
func throughProxy(t *testing.T, d *driven) net.Conn {
	t.Helper()
	st, err := d.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := world.Cloud.Dial(t.Context(), "tcp", st.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "CONNECT echo.corp.test:7 HTTP/1.1\r\nHost: echo.corp.test:7\r\n\r\n")
	said := make([]byte, 0, 256)
	for b := make([]byte, 1); !bytes.HasSuffix(said, []byte("\r\n\r\n")); said = append(said, b[0]) {
		if _, err := c.Read(b); err != nil {
			t.Fatalf("the proxy says %q: %v", said, err)
		}
	}
	if !bytes.HasPrefix(said, []byte("HTTP/1.1 200")) {
		t.Fatalf("the proxy says %q", said)
	}
	return c
}

// datagramFlows are sockets of UDP, each an exchange of its own with echo.
type datagramFlows []net.Conn

// echo has every one say something and hear it; what goes meanwhile may be lost
// or late, as datagrams may.
func (flows datagramFlows) echo(t *testing.T, what string) {
	t.Helper()
	for i, c := range flows {
		said := fmt.Sprintf("datagram %d %s", i, what)
		got, buf := "", make([]byte, 1500)
		for end := time.Now().Add(time.Minute); got != said && time.Now().Before(end); {
			if _, err := io.WriteString(c, said); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			for got != said {
				n, err := c.Read(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if got = string(buf[:n]); err != nil || !strings.HasPrefix(got, fmt.Sprintf("datagram %d ", i)) {
					t.Fatalf("datagram %d: %q, %v", i, got, err)
				}
			}
		}
		if got != said {
			t.Fatalf("datagram %d is not answered", i)
		}
	}
}

// TestTransactionSurvives holds a transaction and 200 flows open through a cut
// and through a stall, in which nothing says that anything is wrong: to names,
// through the proxy, UDP, some that say nothing, and downloads that are under way.
func TestTransactionSurvives(t *testing.T) {
	d := driveWith(t, shim.Settings{Resources: `[
		{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]}
	]`})
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

	flows, idle, datagrams := make([]net.Conn, 140), make([]net.Conn, 20), make(datagramFlows, 20)
	echoes := strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0] + ":7"
	for i := range flows {
		if i%3 == 0 {
			flows[i] = throughProxy(t, d)
		} else if c, err := world.Cloud.Dial(ctx, "tcp", echoes); err == nil {
			flows[i] = c
		} else {
			t.Fatal(err)
		}
		defer flows[i].Close()
	}
	for i := range idle {
		c, err := world.Cloud.Dial(ctx, "tcp", echoes)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle[i] = c
		if c, err = world.Cloud.Dial(ctx, "udp", echoes); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		datagrams[i] = c
	}
	say := func(flows []net.Conn, what string) {
		t.Helper()
		for i, c := range flows {
			_, _ = io.WriteString(c, what)
			got := make([]byte, len(what))
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != what {
				t.Fatalf("flow %d: %q, %v; want %q", i, got, err, what)
			}
		}
	}
	say(idle, "here")
	loaded := make(chan string, 1)
	go func() {
		const url = "'http://web.corp.test/%s?n=2000000&seed=3'"
		out, err := cloud(t, 5*time.Minute, fmt.Sprintf("curl -sS "+url+"; seq 20 | xargs -P 20 -I_ sh -c \"curl -sS --limit-rate 80k "+url+" | sha256sum\"", "sha256", "bytes"))
		loaded <- fmt.Sprintln(strings.ReplaceAll(out, "  -", ""), err)
	}()
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
	datagrams.echo(t, "at first")
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
		for i, c := range datagrams {
			_, _ = fmt.Fprintf(c, "datagram %d during %s", i, fault.name)
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
		datagrams.echo(t, "after the "+fault.name)
		ask("insert into survives values (2); select 'still';", "still")
	}
	say(idle, "still here")
	if opened := strings.Count(d.Gateway.Log.String(), `"target":"udp echo.corp.test:7"`); opened != len(datagrams) {
		t.Errorf("%d exchanges of datagrams were opened for %d", opened, len(datagrams))
	}
	ask("commit; select count(*) from survives;", "3")
	sums := strings.Fields(<-loaded)
	if len(sums) != 22 || strings.Count(strings.Join(sums, " "), sums[0]) != 21 {
		t.Errorf("20 downloads: %q", sums)
	}
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
	c, err := world.Cloud.Dial(t.Context(), "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0]+":7")
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
	type used struct {
		usage
		goroutines int
	}
	use := func() (u [2]used) {
		for i, role := range []string{"gateway", "capture"} {
			h := d.background(role)
			u[i] = used{usageOf(h.PID), h.Goroutines}
		}
		return u
	}
	change(changes / 5)
	before := use()
	change(changes)
	after := use()
	t.Logf("%d changes: %+v, then %+v", changes, before, after)
	for i := range before {
		if after[i].files > before[i].files+2 || after[i].goroutines > before[i].goroutines+4 ||
			after[i].threads > before[i].threads+8 || after[i].residentMiB > before[i].residentMiB+8 {
			t.Errorf("it grows: %+v, then %+v", before[i], after[i])
		}
	}
}

// TestResumeLimit loses the link twice: new flows wait for the next one, and
// when none comes for as long as was asked for, everything ends and says why.
func TestResumeLimit(t *testing.T) {
	before := hostsFile(t)
	d := driveWith(t, shim.Settings{ResumeSeconds: 4, Resources: `[
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "echo", "host": "echo.corp.test", "ports": [7]}
	]`})
	c, err := world.Cloud.Dial(t.Context(), "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0]+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lose := func() {
		t.Helper()
		if err := d.Lose(t.Context(), "the train is in a tunnel"); err != nil {
			t.Fatal(err)
		}
		if st, err := d.Status(t.Context()); err != nil || st.State != "reconnecting" || !strings.Contains(st.Reason, "tunnel") {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	lose()
	_, _ = io.WriteString(c, "meanwhile")
	fresh := make(chan error, 1)
	go func() {
		out, err := cloud(t, time.Minute, "curl -sS -o /dev/null http://web.corp.test/")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		fresh <- err
	}()
	time.Sleep(time.Second)
	d.link()
	if err := <-fresh; err != nil {
		t.Errorf("a flow that began without a link: %v", err)
	}
	got := make([]byte, len("meanwhile"))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "meanwhile" {
		t.Fatalf("%q, %v", got, err)
	}

	lose()
	start := time.Now()
	_ = c.SetReadDeadline(start.Add(time.Minute))
	if n, err := c.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the limit: %d, %v; want a reset", n, err)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it ended after %v", took)
	}
	eventually(t, 10*time.Second, "the remote is clean, and both sides say why", func() bool {
		for _, h := range []*shim.Helper{d.Gateway, d.Capture} {
			if st := h.Told(); st.State != "closed" || !strings.Contains(st.Reason, "no link for 4s") || !strings.Contains(st.Reason, "tunnel") {
				return false
			}
		}
		return hostsFile(t) == before
	})
}
