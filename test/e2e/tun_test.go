//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// addresses are resources without a name. Nothing else leads from cloud to corp.
const addresses = `[
	{"name": "corp", "host": "10.77.0.0/24", "ports": [7, 8, 9, 10, 11, 12, 13, 14, 80, 99, 5432], "protocols": ["tcp", "udp"]},
	{"name": "corp6", "host": "fd77::/64", "ports": [80, 81]},
	{"name": "dead ends", "host": "10.77.8.0/23", "ports": [80]},
	{"name": "everything", "host": "0.0.0.0/0", "ports": [80]},
	{"name": "editor", "host": "10.78.0.0/28", "ports": [80]},
	{"name": "nameserver", "host": "198.51.100.53", "ports": [53], "protocols": ["udp"]},
	{"name": "overlap", "host": "198.51.96.0/20", "ports": [80]},
]`

// device is cloud's TUN device, "" if there is none: name and index.
func device(t *testing.T) string {
	t.Helper()
	return onCloud(t, "ip -o link show | grep -o '^[0-9]*: causeway[0-9]*' || true")
}

// tunRoutes are the routes that lead there.
func tunRoutes(t *testing.T) string {
	t.Helper()
	return onCloud(t, "{ ip route; ip -6 route; } | grep causeway || true")
}

func onCloud(t *testing.T, script string) string {
	t.Helper()
	out, err := world.Cloud.Command(t.Context(), "bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// staticProgram is a Go program without libc, which asks no resolver.
func staticProgram(t *testing.T) string {
	t.Helper()
	dir := filepath.Dir(helper)
	source, program := filepath.Join(dir, "probe.go"), filepath.Join(dir, "probe")
	mustWrite(t, source, `package main

import ("fmt"; "io"; "net"; "os"; "time")

func main() {
	c, err := net.Dial(os.Args[1], os.Args[2])
	if err != nil { fmt.Println(err); return }
	defer c.Close()
	fmt.Fprint(c, "hello")
	b := make([]byte, 5)
	c.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.ReadFull(c, b)
	fmt.Println(string(b), err)
}
`)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestTunCarriesRawAddresses(t *testing.T) {
	connect(t, addresses)
	i := world.Info()
	probe := staticProgram(t)
	psql := fmt.Sprintf("PGPASSWORD=%s psql -h 10.77.0.10 -p %d -U %s -d %s -Atc 'select 6*7'", i.Postgres.Password, i.Postgres.Port, i.Postgres.User, i.Postgres.Database)
	cases := []struct{ name, script, want string }{
		{"curl", "curl -sS -o /dev/null -w '%{http_code}' http://10.77.0.12/", "200"},
		{"curl by IPv6", "curl -sS -g -o /dev/null -w '%{http_code}' 'http://[fd77::12]/'", "200"},
		{"psql", psql, "42"},
		{"static Go, TCP", probe + " tcp 10.77.0.14:7", "hello <nil>"},
		{"static Go, UDP", probe + " udp 10.77.0.14:7", "hello <nil>"},
		{"large datagrams", "python3 - <<'PY'\n" + datagramProbe + "\nPY", "ok"},
		{"server speaks first", "echo hi | nc -N 10.77.0.14 14", "hello\nhi"},
		{"client half-closes first", "head -c 3000000 /dev/zero | nc -N 10.77.0.14 10 | cut -d' ' -f1", "3000000"},
		{"server half-closes first", "token=$(date +%N); (echo $token; sleep 0.3; head -c 100000 /dev/zero) | nc -N 10.77.0.14 8; sleep 0.3; curl -sS http://10.77.0.12/halfclosed?token=$token | cut -d' ' -f1", "bye\n100000"},
		{"the machine's own networks stay", "curl -sS -o /dev/null " + i.Public.URL + " && echo ok", "ok"},
		{"small segments", "python3 - <<'PY'\n" + smallProbe + "\nPY", "ok"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := mustCloud(t, 2*time.Minute, c.script); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("as root", func(t *testing.T) {
		if got := onCloud(t, "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://10.77.0.12/"); got != "200" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("bound to the device", func(t *testing.T) {
		name := strings.Fields(device(t))[1]
		if got := onCloud(t, "curl -sS -m 60 --interface "+name+" -o /dev/null -w '%{http_code}' http://10.77.0.12/"); got != "200" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("not as another user", func(t *testing.T) {
		other := i.Users["other"]
		for _, script := range []string{"curl -sS -m 5 http://10.77.0.12/", "timeout 5 " + probe + " udp 10.77.0.14:7 | grep hello"} {
			if out, err := world.Cloud.CommandAs(t.Context(), other, "bash", "-c", script).CombinedOutput(); err == nil {
				t.Errorf("%s: another user got %q", script, out)
			}
		}
	})
}

// A capture that is root needs no sudo.
func TestTunAsRoot(t *testing.T) {
	enter := []string{"ip", "netns", "exec", world.Cloud.NS, helper, "capture", "--stdio"}
	s := connectBy(t, addresses, nil, enter...)
	if got := onCloud(t, "curl -sS -m 60 -o /dev/null -w '%{http_code}' http://10.77.0.12/"); got != "200" {
		t.Errorf("got %q", got)
	}
	if out, err := cloud(t, 5*time.Second, "curl -sS -m 3 http://10.77.0.12/"); err == nil {
		t.Errorf("root's capture serves another user: %q", out)
	}
	s.stop()
	if d := device(t); d != "" {
		t.Errorf("%s is left", d)
	}
}

// datagramProbe sends datagrams up to the longest that there is, also an empty one.
const datagramProbe = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60)
for n in (1, 0, 1400, 9000, 65000):
    d = bytes(i % 251 for i in range(n))
    s.sendto(d, ("10.77.0.14", 7))
    r, a = s.recvfrom(65536)
    assert r == d and a == ("10.77.0.14", 7), (n, len(r), a)
print("ok")
`

// smallProbe makes the kernel cut what it sends, in the device, into many.
const smallProbe = `
import socket, hashlib
s = socket.socket(); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600); s.settimeout(60)
s.connect(("10.77.0.14", 10))
d = bytes(i % 251 for i in range(1 << 20))
s.sendall(d); s.shutdown(socket.SHUT_WR)
got = s.makefile().read().split()
assert got == [str(len(d)), hashlib.sha256(d).hexdigest()], got
print("ok")
`

// failures prints what the kernel tells a program that connects and reads. How
// long that takes is the kernel's business alone: it gives a silent target up
// after two SYNs if it is told to, else after minutes, which is beyond the
// limit of the test.
const failures = `
import errno, socket, sys
host, port = sys.argv[1].rsplit(":", 1)
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
if "silent" in sys.argv: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
try:
    s.connect((host, int(port))); s.send(b"x"); s.recv(1); print("connected")
except OSError as e:
    print(errno.errorcode.get(e.errno, e))
`

func TestTunFailuresAreFaithful(t *testing.T) {
	connect(t, addresses)
	for target, want := range map[string]string{
		"10.77.0.14:99":       "ECONNREFUSED",
		"10.77.0.14:98":       "ECONNREFUSED", // no resource has it
		"10.77.8.1:80":        "EHOSTUNREACH",
		"10.77.9.1:80 silent": "ETIMEDOUT",
		"10.77.0.2:80":        "EHOSTUNREACH", // the gateway's own address: denied
		"10.77.0.14:11":       "ECONNRESET",
		"10.77.0.14:12":       "ECONNRESET",
		"fd77::12:81":         "ECONNREFUSED",
		"fd77::2:80":          "EACCES",
		"fd77::99:80":         "EHOSTUNREACH", // a neighbour that does not answer
	} {
		t.Run(target, func(t *testing.T) {
			got := mustCloud(t, time.Minute, "python3 - "+target+" <<'PY'\n"+failures+"\nPY")
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	t.Run("UDP", func(t *testing.T) {
		script := `import socket, errno
for a in (("10.77.0.14", 98), ("10.77.0.2", 7)):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(a); s.send(b"x")
    try: s.recv(1)
    except OSError as e: print(errno.errorcode.get(e.errno, e))`
		if got := mustCloud(t, time.Minute, "python3 - <<'PY'\n"+script+"\nPY"); got != "ECONNREFUSED\nEHOSTUNREACH" {
			t.Errorf("got %q", got)
		}
	})
}

// A route to everything and one to a needed address are refused. A network with
// such an address in it is served around that address.
func TestTunRefusesWhatWouldCutOff(t *testing.T) {
	s := connect(t, addresses)
	for name, want := range map[string]string{
		"corp": "", "corp6": "",
		"everything": "name the networks", "editor": "from which a connection", "nameserver": "a nameserver",
		"overlap": "198.51.100.0/24",
	} {
		at := slices.IndexFunc(s.first.Resources, func(r eventResource) bool { return r.Name == name })
		if at < 0 {
			t.Fatalf("no resource %s in %+v", name, s.first)
		}
		r := s.first.Resources[at]
		served := want == "" || name == "overlap" || name == "editor"
		if !strings.Contains(r.Trouble, want) || want == "" && r.Trouble != "" || slices.Contains(r.Served, "tun") != served {
			t.Errorf("%s: served by %v, trouble %q; want %q", name, r.Served, r.Trouble, want)
		}
	}
	if len(s.first.Notes) > 0 {
		t.Errorf("notes: %q", s.first.Notes)
	}
	routes := tunRoutes(t)
	for _, want := range []string{"10.77.0.0/24", "10.77.8.0/23", "fd77::/64", "198.51.96.0/20", "10.78.0.8/29"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no route to %s:\n%s", want, routes)
		}
	}
	for _, bad := range []string{"default", "10.78.0.0/28", "198.51.100."} {
		if strings.Contains(routes, bad) {
			t.Errorf("a route to %s:\n%s", bad, routes)
		}
	}
	if got := onCloud(t, "ip route get 10.78.0.1"); strings.Contains(got, "causeway") {
		t.Errorf("the editor's connection goes by the device: %s", got)
	}
}

func TestTunOff(t *testing.T) {
	s := connect(t, addresses, "--tun=off")
	if d := device(t); d != "" {
		t.Errorf("there is %s", d)
	}
	for _, r := range s.first.Resources {
		if slices.Contains(r.Served, "tun") {
			t.Errorf("%s is served by %v", r.Name, r.Served)
		}
	}
}

func TestTunLeavesNothing(t *testing.T) {
	const setup = `ip route; ip -6 route; ip rule; ip -o addr | sed "s/tentative //"`
	before := onCloud(t, setup)
	for _, way := range []string{"disconnect", "kill capture", "kill gateway", "kill privileged"} {
		t.Run(way, func(t *testing.T) {
			s := connect(t, addresses)
			was := device(t)
			if was == "" || tunRoutes(t) == "" {
				t.Fatal("no device while connected")
			}
			// A program that holds a connection meanwhile is told.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			held := world.Cloud.CommandAs(ctx, world.Info().Users["dev"], "bash", "-c",
				`exec python3 -c 'import socket; s = socket.create_connection(("10.77.0.14", 7)); print("connected", flush=True); s.recv(1)'`)
			var said syncBuffer
			held.Stderr = &said
			out, err := held.StdoutPipe()
			if err == nil {
				err = held.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 16)); err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			switch way {
			case "disconnect":
				s.stop()
			case "kill capture":
				s.freeze()
				for _, pid := range running("capture") {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			case "kill gateway":
				_ = s.cmd.Process.Kill()
			case "kill privileged":
				for _, pid := range running("privileged") {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				eventually(t, 2*time.Second, "the device is gone", func() bool { return device(t) != was })
				eventually(t, 10*time.Second, "another one is there", func() bool {
					out, _ := cloud(t, 3*time.Second, "curl -sS -m 2 -o /dev/null -w '%{http_code}' http://10.77.0.12/")
					return out == "200"
				})
				s.stop()
			}
			eventually(t, 2*time.Second, "the device is gone", func() bool { return device(t) == "" })
			if now := onCloud(t, setup); now != before {
				t.Errorf("the network set-up is now\n%s\nwhere it was\n%s", now, before)
			}
			eventually(t, 2*time.Second, "no process is left on cloud", func() bool {
				return len(running("capture"))+len(running("privileged")) == 0
			})
			// With a capture that was killed its stack is gone, and the privileged
			// child ends what it had: an abort instead of a reset.
			want := map[string]string{"kill capture": "abort"}[way]
			if want == "" {
				want = "reset"
			}
			ended := make(chan error, 1)
			go func() { ended <- held.Wait() }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(said.String(), want) {
					t.Errorf("a connection ended with %v: %s; want %s", err, said.String(), want)
				}
			case <-time.After(5 * time.Second):
				t.Error("a connection hangs")
			}
		})
	}
}

func TestTunBulkIsExact(t *testing.T) {
	s := connect(t, addresses)
	const size = 256 << 20
	stop := watchMemory(t)
	want := strings.Fields(mustCloud(t, time.Minute, fmt.Sprintf("curl -sS 'http://10.77.0.12/sha256?n=%d&seed=7'", size)))[0]
	for _, way := range []string{"tun", "proxy"} {
		proxy := ""
		if way == "proxy" {
			proxy = "--noproxy '' -x http://" + s.Proxy
		}
		rtt := mustCloud(t, time.Minute, fmt.Sprintf("for i in $(seq 20); do curl -sS %s -o /dev/null -w '%%{time_total}\\n' http://10.77.0.12/; done | sort | sed -n 10p", proxy))
		got := mustCloud(t, 2*time.Minute, fmt.Sprintf("curl -sS %s -o /dev/null -w '%%{size_download} %%{speed_download}' 'http://10.77.0.12/bytes?n=%d&seed=7'", proxy, size))
		t.Logf("%s: %s bytes and bytes/s down, %s s for a request", way, got, rtt)
	}
	if got := mustCloud(t, 2*time.Minute, fmt.Sprintf("curl -sS 'http://10.77.0.12/bytes?n=%d&seed=7' | sha256sum", size)); !strings.HasPrefix(got, want) {
		t.Errorf("downloaded %q, want %s", got, want)
	}
	up := strings.Fields(mustCloud(t, 2*time.Minute, fmt.Sprintf(`set +o pipefail; f=$(mktemp) && trap "rm -f $f" EXIT && openssl enc -aes-128-ctr -nosalt -pass pass:x </dev/zero 2>/dev/null | head -c %d >$f; sha256sum <$f; curl -sS -w ' %%{speed_upload}' -T $f http://10.77.0.12/upload`, size)))
	if len(up) != 5 || up[0] != up[3] {
		t.Errorf("uploaded %q, want equal sums", up)
	}
	t.Logf("tun: %s bytes/s up", up[len(up)-1])
	checkMemory(t, stop)
}

func TestTunStalledFlowsAreBounded(t *testing.T) {
	connect(t, addresses)
	// What programs have sent and are sent is in buffers of this process, not of
	// the kernel.
	stallFlows(t, "10.77.0.14", maxResident+64)
}

func TestTunShortConnectionsLeaveNothing(t *testing.T) {
	connect(t, addresses)
	connectMuch(t, "10.77.0.14")
}
