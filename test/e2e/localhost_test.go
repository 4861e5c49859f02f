package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

// ownPort is a port that nothing on cloud has.
const ownPort = 25037

// localhostResources are services to which cloud's own localhost leads: one of the private
// network, one of laptop itself, one at a low port.
var localhostResources = fmt.Sprintf(`[
	{"host": "orders-db.corp.test", "ports": ["15432:5432"], "as": "localhost"},
	{"host": "localhost", "ports": [%d], "as": "localhost"},
	{"name": "low", "host": "echo.corp.test", "ports": [7], "as": "localhost"},
]`, ownPort)

// listening are the sockets of cloud's localhost that localhostResources can take.
const listening = "ss -Hltn '( sport = :15432 or sport = :25037 or sport = :7 )' | awk '{print $4}' | sort | paste -sd' '"

func TestLocalhost(t *testing.T) {
	ln, err := world.Laptop.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ownPort))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "of the desk for "+r.Host) }), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	before, hosts := onCloud(t, listening), hostsFile(t)
	pg := world.Info().Postgres
	for way, args := range map[string][]string{"everything": nil, "no device": {"--tun=off"}, "no names": {"--names=off", "--dns=off", "--tun=off", "--proxy=off"}} {
		t.Run(way, func(t *testing.T) {
			s := connect(t, localhostResources, args...)
			for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
				query := fmt.Sprintf("PGPASSWORD=%s psql -h %s -p 15432 -U %s -d %s -Atc 'select 6*7'", pg.Password, host, pg.User, pg.Database)
				if got := mustCloud(t, 20*time.Second, query); strings.TrimSpace(got) != "42" {
					t.Errorf("%s: %q", host, got)
				}
			}
			want := fmt.Sprintf("of the desk for localhost:%d", ownPort)
			if got := mustCloud(t, 20*time.Second, fmt.Sprintf("curl -sS -m 10 http://localhost:%d/", ownPort)); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got, err := cloud(t, 20*time.Second, `printf hello | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7; echo hello >&3; head -n 1 <&3'`); err != nil || strings.TrimSpace(got) != "hello" {
				t.Errorf("a low port: %q, %v", got, err)
			}
			if got := hostsFile(t); got != hosts {
				t.Errorf("the hosts file tells of it: %q", got)
			}
			other := world.Cloud.CommandAs(t.Context(), world.Info().Users["other"], "bash", "-c", fmt.Sprintf("curl -sS -m 5 http://localhost:%d/", ownPort))
			if out, err := other.CombinedOutput(); err == nil {
				t.Errorf("another user got %q", out)
			}
			s.stop()
			if got := onCloud(t, listening); got != before {
				t.Errorf("after the session %q listen", got)
			}
		})
	}
	t.Run("kill", func(t *testing.T) {
		s := connect(t, localhostResources)
		if got := onCloud(t, listening); got == before {
			t.Fatal("no port is open before the kill")
		}
		_ = s.cmd.Process.Signal(syscall.SIGSTOP) // else it starts another
		for _, pid := range append(running("privileged"), running("capture")...) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		eventually(t, 2*time.Second, "no port is taken", func() bool { return onCloud(t, listening) == before })
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		s.stop()
	})
}

// A program that has the port keeps it. The view names it, and the port is served when
// the program ends.
func TestLocalhostIsTaken(t *testing.T) {
	dev := world.Info().Users[lab.Dev]
	server := world.Cloud.CommandAs(t.Context(), dev, "bash", "-c", fmt.Sprintf("cd / && exec python3 -u -m http.server -b 127.0.0.1 %d", ownPort))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = server.Process.Kill(); _ = server.Wait() }
	defer stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	ln, err := world.Laptop.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ownPort))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serveDesk(ln)
	s := connect(t, localhostResources)
	trouble := ""
	for _, r := range s.first.Resources {
		if r.Name == fmt.Sprintf("localhost:%d", ownPort) {
			trouble = r.Trouble
		}
	}
	if !strings.Contains(trouble, `taken by "python3`) || !strings.Contains(trouble, "is free") {
		t.Errorf("trouble %q", trouble)
	}
	get := fmt.Sprintf("curl -sS -m 5 http://localhost:%d/", ownPort)
	if got := mustCloud(t, 10*time.Second, get); !strings.Contains(got, "Directory listing") {
		t.Errorf("the program's own answer is %q", got)
	}
	stop()
	eventually(t, 10*time.Second, "the resource is served", func() bool {
		got, _ := cloud(t, 10*time.Second, get)
		return got == "desk"
	})
}

// serveDesk answers each HTTP request with "desk".
func serveDesk(ln net.Listener) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "desk") }), ReadHeaderTimeout: time.Minute}
	_ = server.Serve(ln)
}
