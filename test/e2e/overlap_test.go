//go:build linux

package e2e

import (
	"context"
	"slices"
	"strings"
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

// Beside cloud there is a network with the addresses of corp's, and a host there
// that has the very address of corp's web server.
func TestTunOverlap(t *testing.T) {
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
	const local, remote = "curl -sS -m 60 http://10.77.0.12/", "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://web.corp.test/sha256?n=1"
	eventually(t, 20*time.Second, "the local server answers", func() bool {
		out, err := cloud(t, 5*time.Second, local)
		return err == nil && out == "local"
	})

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
	if got := mustCloud(t, 2*time.Minute, local); got != "local" {
		t.Errorf("the local address gives %q", got)
	}
	if got := mustCloud(t, 2*time.Minute, remote); got != "200" {
		t.Errorf("the name gives %q", got)
	}
	if got := mustCloud(t, 2*time.Minute, "echo hi | nc -N 10.77.0.14 7"); got != "hi" {
		t.Errorf("the address that is routed by itself gives %q", got)
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
