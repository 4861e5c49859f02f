//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

// of is what the first report said of a resource.
func (s *session) of(t *testing.T, name string) eventResource {
	t.Helper()
	at := slices.IndexFunc(s.first.Resources, func(r eventResource) bool { return r.Name == name })
	if at < 0 {
		t.Fatalf("no resource %s in %+v", name, s.first)
	}
	return s.first.Resources[at]
}

// askLocal asks the host that besideCorp puts there; it says "local".
const askLocal = "curl -sS -m 60 http://10.77.0.12/"

// besideCorp puts a network with the addresses of corp's beside cloud, and a host
// there that has the very address of corp's web server.
func besideCorp(t *testing.T) {
	t.Helper()
	wire := `ip link add overlap type veth peer name far netns ` + world.Internet.NS + `
		ip addr add 10.77.0.50/24 dev overlap && ip link set overlap up`
	onCloud(t, wire)
	t.Cleanup(func() {
		_ = world.Cloud.Command(context.Background(), "ip", "link", "del", "overlap").Run()
	})
	serve := world.Internet.Command(t.Context(), "bash", "-c", `ip addr add 10.77.0.12/24 dev far && ip link set far up && exec python3 -u -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"local")
http.server.HTTPServer(("10.77.0.12", 80), H).serve_forever()'`)
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = serve.Process.Kill(), serve.Wait() })
	eventually(t, 20*time.Second, "the local server answers", func() bool {
		out, err := cloud(t, 5*time.Second, askLocal)
		return err == nil && out == "local"
	})
}

func TestTunOverlap(t *testing.T) {
	besideCorp(t)
	const remote = "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://web.corp.test/sha256?n=1"
	s := connect(t, `[
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "same", "host": "10.77.0.0/24", "ports": [80]},
		{"name": "wider", "host": "10.76.0.0/15", "ports": [80]},
		{"name": "within", "host": "10.77.0.14", "ports": [7]},
	]`)
	for _, c := range []struct {
		name, trouble string
		served        bool
	}{
		{"same", "this machine has a network of the same addresses, which goes first", false},
		{"wider", "this machine's own networks stay as they are: 10.77.0.0/24", true},
		{"within", "", true}, // the longest prefix
	} {
		r := s.of(t, c.name)
		if slices.Contains(r.Served, "tun") != c.served || !strings.Contains(r.Trouble, c.trouble) || c.trouble == "" && r.Trouble != "" {
			t.Errorf("%s is served by %v, trouble %q; want %q", c.name, r.Served, r.Trouble, c.trouble)
		}
	}
	if got := mustCloud(t, 2*time.Minute, askLocal); got != "local" {
		t.Errorf("the local address gives %q", got)
	}
	if got := mustCloud(t, 2*time.Minute, remote); got != "200" {
		t.Errorf("the name gives %q", got)
	}
	if got := mustCloud(t, 2*time.Minute, "echo hi | nc -N 10.77.0.14 7"); got != "hi" {
		t.Errorf("the address that is routed by itself gives %q", got)
	}
}

// named are names that lead to the device, which the pings keep there, and the
// network that cloud has too.
const named = `[
	{"name": "web", "host": "web.corp.test", "ports": [80]},
	{"name": "orders", "host": "orders-db.corp.test", "ports": ["1-9000"]}, // more than have a listener
	{"name": "echo", "host": "echo.corp.test", "ports": ["7-99"], "protocols": ["tcp", "udp", "icmp"]},
	{"name": "unreachable", "host": "unreachable.corp.test", "ports": [80], "protocols": ["tcp", "icmp"]},
	{"name": "domain", "host": "*.corp.test", "ports": [80], "protocols": ["tcp", "icmp"]},
	{"name": "same", "host": "10.77.0.0/24", "ports": [80]},
]`

// Names lead to corp by addresses that only stand for them, whatever network has
// corp's own, and what has those is reached as before.
func TestTunNamesOverlap(t *testing.T) {
	besideCorp(t)
	before := setup(t)
	s := connect(t, named)
	if r := s.of(t, "same"); slices.Contains(r.Served, "tun") {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"web", "orders", "echo", "domain"} {
		if r := s.of(t, name); !slices.Contains(r.Served, "tun") || r.Trouble != "" {
			t.Errorf("%+v", r)
		}
	}
	i := world.Info()
	get := "curl -sS -m 60 -o /dev/null -w '%{http_code}' "
	for _, c := range []struct{ name, script, want string }{
		{"the local address", askLocal, "local"},
		{"curl", get + "http://web.corp.test/", "200"},
		{"curl by IPv6", get + "-6 http://web.corp.test/", "200"},
		{"a wildcard's name", get + "http://www.corp.test/", "200"},
		{"a wildcard's name by IPv6", "dig +short six.corp.test AAAA | cut -d: -f1", "fdc5"},
		{"a port without a listener", fmt.Sprintf("PGPASSWORD=%s psql -h %s -p %d -U %s -d %s -Atc 'select 6*7'",
			i.Postgres.Password, i.Postgres.Host, i.Postgres.Port, i.Postgres.User, i.Postgres.Database), "42"},
		{"UDP", "python3 -c '" + udpEcho + "' echo.corp.test", "echoed"},
		{"under run", helper + " run --only -- " + get + "http://web.corp.test/", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustCloud(t, 2*time.Minute, c.script); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for target, want := range map[string]string{
		"echo.corp.test:99":        "ECONNREFUSED",
		"echo.corp.test:100":       "ECONNREFUSED", // no resource has it
		"unreachable.corp.test:80": "EHOSTUNREACH",
	} {
		t.Run(target, func(t *testing.T) {
			if got := mustCloud(t, time.Minute, "python3 - "+target+" <<'PY'\n"+failures+"\nPY"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	for args, want := range map[string]string{
		"-4 -W 60 echo.corp.test":        "1 received",
		"-6 -W 60 echo.corp.test":        "1 received",
		"-4 -W 60 unreachable.corp.test": "Destination Host Unreachable",
		"-4 -W 60 x.apps.corp.test":      "1 received",
		"-4 -W 60 orders-db.corp.test":   "1 received", // the domain's resource has it
	} {
		if got, _ := cloud(t, 2*time.Minute, "ping -c 1 "+args+" 2>&1"); !strings.Contains(got, want) || strings.Contains(got, "DUP") {
			t.Errorf("ping %s, want %q:\n%s", args, want, got)
		}
	}
	for _, name := range []string{"web.corp.test", "x.apps.corp.test"} {
		told := strings.Fields(mustCloud(t, time.Minute, "getent ahosts "+name+" | awk '$2 == \"STREAM\" {print $1}'"))
		if len(told) == 0 {
			t.Errorf("%s has no address", name)
		}
		for _, a := range told {
			if !strings.HasPrefix(a, "198.1") && !strings.HasPrefix(a, "fdc5:7a0e:93d1:") {
				t.Errorf("%s is at %s", name, a)
			}
			if got := dig(t, world.Cloud, "-x", a); !strings.HasSuffix(got, " IN PTR "+name+".") {
				t.Errorf("the reverse of %s: %s", a, got)
			}
			host := a
			if strings.Contains(a, ":") {
				host = "[" + a + "]"
			}
			if out, err := world.Cloud.CommandAs(t.Context(), i.Users["other"], "curl", "-gsS", "-m", "5", "http://"+host+"/").CombinedOutput(); err == nil {
				t.Errorf("another user got %q", out)
			}
		}
	}
	s.stop()
	if now := setup(t); now != before {
		t.Errorf("the network set-up is now\n%s\nwhere it was\n%s", now, before)
	}
}

// Whoever is killed, nothing is told of addresses that lead nowhere.
func TestTunNamesLeaveNothing(t *testing.T) {
	before := setup(t)
	get := "curl -sS -m 5 -o /dev/null -w '%{http_code}' http://web.corp.test/"
	for _, victim := range []string{"capture", "privileged", "gateway"} {
		t.Run(victim, func(t *testing.T) {
			s := connect(t, named, "--tun=on")
			if got := onCloud(t, "getent ahostsv4 web.corp.test"); !strings.HasPrefix(got, "198.1") {
				t.Fatalf("web.corp.test is at %s", got)
			}
			if victim == "capture" {
				s.freeze()
			}
			for _, pid := range running(victim) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			switch victim {
			case "gateway":
				_ = s.cmd.Process.Kill()
			case "privileged":
				eventually(t, 20*time.Second, "names lead to another device", func() bool {
					out, _ := cloud(t, 10*time.Second, "getent ahostsv4 web.corp.test; "+get)
					return strings.HasPrefix(out, "198.1") && strings.HasSuffix(out, "200")
				})
				s.stop()
			}
			eventually(t, 3*time.Second, "all is as before", func() bool { return setup(t) == before })
			eventually(t, 3*time.Second, "no process is left on cloud", func() bool {
				return len(running("capture"))+len(running("privileged")) == 0
			})
		})
	}
}

// Names lead to the device also if no resource is an address. The ports of the
// remote stay free: the user's own servers work on the same ports, whether they
// start before or after.
func TestTunNamesAlone(t *testing.T) {
	serve := func(port string) {
		t.Helper()
		ln, err := world.Cloud.Listen("tcp4", "0.0.0.0:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "own")
				_ = c.Close()
			}
		}()
		c, err := world.Cloud.Dial(t.Context(), "tcp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "own" {
			t.Errorf("port %s of the remote: %q %v", port, got, err)
		}
	}
	serve("5432")
	s := connect(t, `[
		{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
		{"name": "npm", "host": "npm.corp.test", "ports": [4873]},
		{"name": "domain", "host": "*.corp.test", "ports": [80, 7000]},
	]`)
	i := world.Info()
	for _, c := range []struct{ script, want string }{
		{"getent ahostsv4 npm.corp.test | cut -c1-5 | sort -u", "198.1"},
		{fmt.Sprintf("PGPASSWORD=%s psql -h %s -p 5432 -U %s -d %s -Atc 'select 6*7'", i.Postgres.Password, i.Postgres.Host, i.Postgres.User, i.Postgres.Database), "42"},
		{"curl -sS -m 60 -o /dev/null -w '%{http_code}' http://npm.corp.test:4873/-/ping", "200"},
		{"curl -sS -m 60 -o /dev/null -w '%{http_code}' http://www.corp.test/", "200"},
	} {
		if got := mustCloud(t, 2*time.Minute, c.script); got != c.want {
			t.Errorf("%s: %q", c.script, got)
		}
	}
	for _, port := range []string{"4873", "7000"} {
		serve(port)
	}
	if got := mustCloud(t, 2*time.Minute, "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://npm.corp.test:4873/-/ping"); got != "200" {
		t.Errorf("beside an own server on its port, npm gives %q", got)
	}
	for _, r := range s.first.Resources {
		if !slices.Contains(r.Served, "tun") || r.Trouble != "" {
			t.Errorf("%+v", r)
		}
	}
}

// Where the system has no IPv6, names have addresses of IPv4 alone.
func TestTunNamesWithoutIPv6(t *testing.T) {
	const file = "/proc/sys/net/ipv6/conf/default/disable_ipv6" // of devices to come
	t.Cleanup(func() { _ = world.Cloud.Command(context.Background(), "sh", "-c", "echo 0 >"+file).Run() })
	onCloud(t, "echo 1 >"+file)
	connect(t, named)
	if got := hostsFile(t); !strings.Contains(got, "\nweb.corp.test") && !strings.Contains(got, "\tweb.corp.test") || strings.Contains(got, "fdc5:") {
		t.Errorf("hosts file:\n%s", got)
	}
	for q, want := range map[string]string{"six.corp.test A": "IN A 198.1", "six.corp.test AAAA": "NOERROR"} {
		if got := dig(t, world.Cloud, strings.Fields(q)...); !strings.Contains(got, want) || strings.Contains(got, "IN AAAA") {
			t.Errorf("%s: %s", q, got)
		}
	}
	if got := mustCloud(t, 2*time.Minute, "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://web.corp.test/"); got != "200" {
		t.Errorf("got %q", got)
	}
}

// Two windows have a device and a range each. The older one serves the names that both
// have, and the other one when the older one has gone.
func TestTunNamesOfTwoWindows(t *testing.T) {
	before := setup(t)
	first, second := connect(t, named), connect(t, named)
	get := "for a in $(getent ahostsv4 web.corp.test | awk '$2 == \"STREAM\" {print $1}'); do curl -sS -m 60 -o /dev/null -w '%{http_code} ' --resolve web.corp.test:80:$a http://web.corp.test/; done"
	for _, want := range []string{"200", "200"} {
		if got := mustCloud(t, 2*time.Minute, get); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		first.stop()
	}
	second.stop()
	if now := setup(t); now != before {
		t.Errorf("the network set-up is now\n%s\nwhere it was\n%s", now, before)
	}
}

// What the user's own connections and the machine's other ways need is left out.
func TestTunSparesConnections(t *testing.T) {
	onCloud(t, "ip route add 203.0.113.0/24 nexthop via 198.51.100.77 nexthop via 198.51.100.78")
	t.Cleanup(func() { _ = world.Cloud.Command(context.Background(), "ip", "route", "del", "203.0.113.0/24").Run() })
	hold := func(u string) {
		c := world.Cloud.CommandAs(t.Context(), world.Info().Users[u], "bash", "-c",
			`exec python3 -c 'import socket, sys; s = socket.create_connection(("198.51.100.10", 80)); print("up", flush=True); sys.stdin.read()'`)
		var said syncBuffer
		c.Stderr = &said
		in, _ := c.StdinPipe()
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = in.Close(), c.Wait() })
		if _, err := out.Read(make([]byte, 8)); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
	}
	hold(lab.Dev)
	s := connect(t, `[
		{"name": "dialled", "host": "198.51.100.10", "ports": [80]},
		{"name": "way", "host": "198.51.100.78", "ports": [80]},
		{"name": "corp", "host": "10.77.0.0/24", "ports": [80]},
	]`)
	for name, want := range map[string]string{"dialled": "to which this machine has a connection", "way": "a next hop"} {
		if r := s.of(t, name); slices.Contains(r.Served, "tun") || !strings.Contains(r.Trouble, want) {
			t.Errorf("%s is served by %v, trouble %q; want %q", name, r.Served, r.Trouble, want)
		}
	}
	// A connection by the device itself, and one that it left, hold nothing up.
	if got := mustCloud(t, 2*time.Minute, "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://10.77.0.12/"); got != "200" {
		t.Errorf("got %q", got)
	}
}
