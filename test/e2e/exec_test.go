//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

func TestClientsByName(t *testing.T) {
	s := connect(t, resources)
	i := world.Info()
	psql := fmt.Sprintf("PGPASSWORD=%s psql -h %s -p %d -U %s -d %s", i.Postgres.Password, i.Postgres.Host, i.Postgres.Port, i.Postgres.User, i.Postgres.Database)

	t.Run("psql", func(t *testing.T) {
		if got := mustCloud(t, 20*time.Second, psql+" -Atc 'select 6*7'"); got != "42" {
			t.Fatalf("psql says %q", got)
		}
	})
	t.Run("pgbench", func(t *testing.T) {
		out := mustCloud(t, time.Minute, fmt.Sprintf("PGPASSWORD=%s pgbench -h %s -p %d -U %s -c 8 -T 30 -n -S %s 2>&1",
			i.Postgres.Password, i.Postgres.Host, i.Postgres.Port, i.Postgres.User, i.Postgres.Database))
		if !strings.Contains(out, "number of failed transactions: 0") {
			t.Fatal(out)
		}
		t.Log(out)
	})
	t.Run("https", func(t *testing.T) {
		out := mustCloud(t, 20*time.Second, "curl -sS --http2 --cacert "+i.CAFile+" -o /dev/null -w '%{http_version} %{ssl_verify_result}' https://web.corp.test/")
		if out != "2 0" {
			t.Fatalf("curl says %q, want HTTP/2 and a verified name", out)
		}
	})
	t.Run("WebSocket", func(t *testing.T) {
		if out := mustCloud(t, 10*time.Second, "python3 - <<'PY'\n"+webSocketProbe+"\nPY"); out != "hello, hello" {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("nc and ProxyCommand", func(t *testing.T) {
		if out := mustCloud(t, 10*time.Second, "printf 'hi\n' | "+helper+" nc echo.corp.test 14"); out != "hello\nhi" {
			t.Fatalf("got %q", out)
		}
		out, err := cloud(t, 10*time.Second, helper+" nc echo.corp.test 99 </dev/null; echo $?")
		if err == nil && !strings.HasSuffix(out, "3") {
			t.Fatalf("a refused nc says %q", out)
		}
	})
	t.Run("git over ssh", func(t *testing.T) {
		out := mustCloud(t, 30*time.Second, "cd $(mktemp -d) && GIT_SSH_COMMAND='ssh -F "+i.Git.SSHConfig+"' git clone -q "+i.Git.URL+" x && git -C x rev-parse HEAD")
		if !strings.Contains(out, i.Git.Head) {
			t.Fatalf("cloned %q, want %s", out, i.Git.Head)
		}
	})
	t.Run("npm", func(t *testing.T) {
		out := mustCloud(t, 60*time.Second, "cd $(mktemp -d) && npm init -y >/dev/null && npm install --no-audit --no-fund --registry "+i.NPM.URL+" "+i.NPM.Package+" 2>&1 && ls node_modules/"+i.NPM.Package)
		if !strings.Contains(out, "package.json") {
			t.Fatal(out)
		}
	})
	t.Run("client half-closes first", func(t *testing.T) {
		out := mustCloud(t, 20*time.Second, "head -c 3000000 /dev/zero | nc -N echo.corp.test 10")
		if !strings.HasPrefix(out, "3000000 ") {
			t.Fatalf("the server counted %q", out)
		}
	})
	t.Run("server half-closes first", func(t *testing.T) {
		out := mustCloud(t, 20*time.Second, "token=$(date +%N); (echo $token; sleep 0.3; head -c 100000 /dev/zero) | nc -N echo.corp.test 8; sleep 0.3; curl -sS http://web.corp.test/halfclosed?token=$token")
		if !strings.HasPrefix(out, "bye") || !strings.Contains(out, "\n100000 ") {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("server speaks first", func(t *testing.T) {
		if out := mustCloud(t, 10*time.Second, "echo hi | nc -N echo.corp.test 14"); out != "hello\nhi" {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("what is no resource goes where it went", func(t *testing.T) {
		script := "curl -sS " + i.Public.URL + " && http_proxy=http://" + s.Proxy + " curl -sS " + i.Public.URL
		mustCloud(t, 10*time.Second, script)
	})
	t.Run("UDP and a look-up through SOCKS5", func(t *testing.T) {
		out := mustCloud(t, 20*time.Second, "python3 - "+s.Proxy+" <<'PY'\n"+socksProbe+"\nPY")
		if out != "udp echo ok\ndns ok" {
			t.Fatal(out)
		}
	})
}

// webSocketProbe says hello twice over one WebSocket.
const webSocketProbe = `
import socket, os
s = socket.create_connection(("web.corp.test", 80), 5); f = s.makefile("rb")
s.sendall(b"GET /ws HTTP/1.1\r\nHost: web.corp.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
assert b" 101 " in f.readline()
while f.readline() != b"\r\n": pass
said = []
for _ in range(2):
    mask, text = os.urandom(4), b"hello"
    s.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
    head = f.read(2); said.append(f.read(head[1]).decode())
print(", ".join(said))
`

// socksProbe sends a datagram to echo.corp.test and a DNS query to
// dns.corp.test by UDP ASSOCIATE, the names resolved at the gateway.
const socksProbe = `
import socket, struct, sys
host, port = sys.argv[1].rsplit(":", 1)
tcp = socket.create_connection((host, int(port)), 5)
tcp.sendall(b"\x05\x01\x00"); assert tcp.recv(2) == b"\x05\x00"
tcp.sendall(b"\x05\x03\x00\x01\0\0\0\0\0\0"); r = tcp.recv(10); assert r[1] == 0, r
relay = (socket.inet_ntoa(r[4:8]), struct.unpack(">H", r[8:10])[0])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
def ask(name, port, payload):
    u.sendto(b"\0\0\0\x03" + bytes([len(name)]) + name + struct.pack(">H", port) + payload, relay)
    d, _ = u.recvfrom(65535)
    n = {1: 10, 3: 7 + d[4], 4: 22}[d[3]]
    return d[n:]
assert ask(b"echo.corp.test", 7, b"ping") == b"ping"
print("udp echo ok")
q = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l for l in b"web.corp.test".split(b".")) + b"\0\0\x01\0\x01"
a = ask(b"dns.corp.test", 53, q)
assert a[:2] == b"\x12\x34" and socket.inet_aton("10.77.0.12") in a, a
print("dns ok")
`

func TestFailuresAreFaithful(t *testing.T) {
	s := connect(t, resources)
	for _, c := range []struct{ target, http, socks string }{
		{"echo.corp.test:99", "502", "5"},
		{"unreachable.corp.test:80", "502", "4"},
		{"gone.corp.test:80", "502", "4"},
		{"servfail.corp.test:80", "502", "1"},
		{"rebind.corp.test:80", "403", "2"},
		{"meta.corp.test:80", "403", "2"},
		{"mapped.corp.test:80", "403", "2"},
		{"zero.corp.test:80", "403", "2"},
		{"laptop.corp.test:80", "403", "2"},
		{"127.0.0.1:80", "403", "2"},
		{"169.254.169.254:80", "403", "2"},
		{"10.77.0.2:80", "403", "2"},
	} {
		t.Run(c.target, func(t *testing.T) {
			script := fmt.Sprintf(`curl -sS -m 30 -o /dev/null -w '%%{http_code}' -x http://%s http://%s/`, s.Proxy, c.target)
			if out, _ := cloud(t, 40*time.Second, script); out != c.http {
				t.Errorf("HTTP proxy says %q, want %s", out, c.http)
			}
			script = fmt.Sprintf(`curl -sS -m 30 -o /dev/null --socks5-hostname %s http://%s/ 2>&1 || true`, s.Proxy, c.target)
			if out, _ := cloud(t, 40*time.Second, script); !strings.Contains(out, "("+c.socks+")") {
				t.Errorf("SOCKS5 says %q, want %s", out, c.socks)
			}
		})
	}
	t.Run("timed out", func(t *testing.T) {
		script := fmt.Sprintf(`curl -sS -m 40 -o /dev/null -w '%%{http_code}' -x http://%s http://blackhole.corp.test/`, s.Proxy)
		if out, _ := cloud(t, 50*time.Second, script); out != "504" {
			t.Errorf("HTTP proxy says %q, want 504", out)
		}
	})
	t.Run("a name's port is refused at once", func(t *testing.T) {
		start := time.Now()
		out, err := cloud(t, 10*time.Second, "curl -sS -m 8 http://echo.corp.test:99/ 2>&1 || true; ! nc -z echo.corp.test 99")
		if err != nil || !strings.Contains(out, "curl: (7)") || time.Since(start) > 3*time.Second {
			t.Errorf("after %s: %v %q, want a refused connection", time.Since(start), err, out)
		}
	})
	t.Run("the log says whose it was", func(t *testing.T) {
		user := world.Info().Users[lab.Dev].Name
		if want := regexp.MustCompile(`"source":"tun","program":"curl","pid":[1-9][0-9]*,"user":"` + user + `".*flow refused`); !want.MatchString(s.log.String()) {
			t.Errorf("no %s in:\n%s", want, s.log)
		}
	})
	t.Run("the server's reset arrives", func(t *testing.T) {
		out, err := cloud(t, 10*time.Second, "curl -sS -m 8 http://echo.corp.test:11/ 2>&1")
		if err == nil || !strings.Contains(out, "reset") {
			t.Errorf("%v %q, want a reset", err, out)
		}
	})
	t.Run("a port that no resource lists is refused", func(t *testing.T) {
		out, err := cloud(t, 10*time.Second, "curl -sS -m 8 http://web.corp.test:81/ 2>&1")
		if err == nil || !strings.Contains(strings.ToLower(out), "refused") && !strings.Contains(out, "Failed to connect") && !strings.Contains(out, "Couldn't connect") {
			t.Errorf("%v %q, want refused", err, out)
		}
	})
}

func TestAnotherUserIsRefused(t *testing.T) {
	s := connect(t, resources)
	other := world.Info().Users["other"]
	for _, script := range []string{
		"curl -sS -m 5 http://web.corp.test/",
		"curl -sS -m 5 -x http://" + s.Proxy + " http://web.corp.test/",
		"curl -sS -m 5 --socks5-hostname " + s.Proxy + " http://web.corp.test/",
	} {
		cmd := world.Cloud.CommandAs(t.Context(), other, "bash", "-c", script)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s: another user got %q", script, out)
		}
	}
	for end := time.After(10 * time.Second); ; {
		select {
		case e := <-s.events:
			if notes := strings.Join(e.Notes, "\n"); strings.Contains(notes, other.Name) && strings.Contains(notes, "causeway.users") {
				return
			}
		case <-end:
			t.Fatal("the view does not say who was refused, and how to serve that user")
		}
	}
}

// Other users are served if the list has them, or if everyone is served; then also
// one whose socket is closed by the time that it is looked for.
func TestAnotherUserIsServed(t *testing.T) {
	other := world.Info().Users["other"]
	for _, users := range []string{other.Name, "everyone"} {
		t.Run(users, func(t *testing.T) {
			s := connect(t, resources, "--users="+users)
			scripts := []string{
				"curl -sS -m 5 http://web.corp.test/",
				"curl -sS -m 5 -x http://" + s.Proxy + " http://web.corp.test/",
			}
			for _, script := range scripts {
				cmd := world.Cloud.CommandAs(t.Context(), other, "bash", "-c", script)
				if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
					t.Errorf("%s: %v %q", script, err, out)
				}
			}
		})
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := hostsFile(t)
	clean := func() bool { return hostsFile(t) == before }
	for _, way := range []string{"disconnect", "kill capture", "kill gateway"} {
		t.Run(way, func(t *testing.T) {
			s := connect(t, resources)
			if clean() {
				t.Fatal("the hosts file has no block while connected")
			}
			flow, err := world.Cloud.Dial(t.Context(), "tcp", net.JoinHostPort(strings.Fields(mustCloud(t, 5*time.Second, "getent hosts echo.corp.test"))[0], "7"))
			if err != nil {
				t.Fatal(err)
			}
			defer flow.Close()
			_, _ = flow.Write([]byte("x"))
			_ = flow.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := flow.Read(make([]byte, 1)); n != 1 {
				t.Fatal(err)
			}
			switch way {
			case "disconnect":
				s.stop()
				if err := <-s.ended; err != nil {
					t.Errorf("connect ended with %v", err)
				}
			case "kill capture":
				s.freeze()
				for _, pid := range running("capture") {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			case "kill gateway":
				_ = s.cmd.Process.Kill()
			}
			want := syscall.ECONNRESET
			if way == "kill capture" {
				want = syscall.ECONNABORTED // the flow is by the device, and the privileged child ends it
			}
			if _, err := flow.Read(make([]byte, 1)); !errors.Is(err, want) {
				t.Errorf("an open flow ends with %v, want %v", err, want)
			}
			eventually(t, 2*time.Second, "the hosts file is as before", clean)
			eventually(t, 2*time.Second, "no process is left on cloud", func() bool {
				return len(running("capture"))+len(running("privileged")) == 0
			})
			again := connect(t, resources)
			mustCloud(t, 10*time.Second, "curl -sS http://web.corp.test/")
			again.stop()
		})
	}
}

func TestWrongFileExitsWithEveryMistake(t *testing.T) {
	file := t.TempDir() + "/wrong.json"
	mustWrite(t, file, `[
  {"host": "a.corp.test", "ports": [0]},
  {"host": "http://b.corp.test", "ports": [80]},
  {"hots": "c.corp.test", "ports": [80]}
]`)
	cmd := world.Laptop.Command(t.Context(), helper, "connect", "--resources", file, "--", "false")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Fatalf("exit code %d, want 2", cmd.ProcessState.ExitCode())
	}
	for _, want := range []string{"[0].ports[0]", ":2:", "[1].host", ":3:", `no "hots"`, ":4:"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}
