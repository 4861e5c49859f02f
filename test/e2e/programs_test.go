//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// client is one of the programs that a resource's flows are of.
type client struct {
	User    string `json:"user"`
	PID     int    `json:"pid"`
	Program string `json:"program"`
}

// clients are those of the named resource.
func (d *driven) clients(name string) []client {
	d.t.Helper()
	var s struct {
		Resources []struct {
			Name    string   `json:"name"`
			Clients []client `json:"clients"`
		} `json:"resources"`
	}
	if err := d.Gateway.Call(d.t.Context(), "session/status", nil, &s); err != nil {
		d.t.Fatal(err)
	}
	for _, r := range s.Resources {
		if r.Name == name {
			return r.Clients
		}
	}
	return nil
}

// Programs that speak to an echo by a proxy, and stay until stdin ends.
const (
	holdBegin = `
import socket, struct, sys
host, port = sys.argv[2].rsplit(":", 1)
s = socket.create_connection((host, int(port)), 10)
def socks(command):
	s.sendall(b"\x05\x01\x00"); assert s.recv(2) == b"\x05\x00"
	s.sendall(b"\x05" + command + b"\x00\x01" + socket.inet_aton(sys.argv[1]) + struct.pack(">H", 7))
	r = s.recv(10); assert r[1] == 0, r
	return socket.inet_ntoa(r[4:8]), struct.unpack(">H", r[8:10])[0]
`
	holdEnd     = "\ns.send(b'x'); print(s.recv(1), flush=True); sys.stdin.read()"
	holdBySOCKS = holdBegin + `socks(b"\x01")` + holdEnd
	holdByHTTP  = holdBegin + `s.sendall(b"CONNECT %s:7 HTTP/1.1\r\nHost: x\r\n\r\n" % sys.argv[1].encode())
r = b""
while not r.endswith(b"\r\n\r\n"): r += s.recv(1)
assert b" 200 " in r, r` + holdEnd
	holdByUDP = holdBegin + `relay = socks(b"\x03")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(10)
u.sendto(b"\0\0\0\x01" + socket.inet_aton(sys.argv[1]) + struct.pack(">H", 7) + b"x", relay)
print(u.recv(100)[10:], flush=True); sys.stdin.read()`
)

// TestWhoDidIt has a resource for one program alone, and asks of each source who
// its flows are from, and for their arguments, which are in no log.
func TestWhoDidIt(t *testing.T) {
	d := driveWith(t, shim.Settings{Resources: `[
		{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]},
		{"name": "net", "host": "10.77.0.14", "ports": [7], "protocols": ["tcp", "udp"]},
		{"name": "web", "host": "web.corp.test", "ports": [80], "programs": ["curl"]},
		{"name": "webnet", "host": "10.77.0.12", "ports": [80], "programs": ["curl"]}
	]`})
	eventually(t, 10*time.Second, "the TUN device", func() bool { return strings.Contains(tunRoutes(t), "10.77.0.14") })
	st, err := d.Status(t.Context())
	if err != nil || st.Proxy == "" {
		t.Fatalf("%+v %v", st, err)
	}
	curl := "curl -sS -m 10 -o /dev/null -w '%{http_code}' "
	for script, want := range map[string]string{
		curl + "http://web.corp.test/":                                      "200",
		curl + "http://10.77.0.12/":                                         "200",
		helper + " run -- " + curl + "http://10.77.0.12/":                   "200",
		"exec 3<>/dev/tcp/web.corp.test/80; read -u3 x":                     "no",
		"exec 3<>/dev/tcp/10.77.0.12/80; read -u3 x":                        "no",
		helper + " run -- nc -zw2 10.77.0.12 80":                            "no",
		curl + "-x http://" + st.Proxy + " http://10.77.0.12/":              "200",
		curl + "-x socks5h://" + st.Proxy + " http://web.corp.test/":        "200",
		"nc -X connect -x " + st.Proxy + " -w2 web.corp.test 80 </dev/null": "no",
		"nc -X 5 -x " + st.Proxy + " -w2 10.77.0.12 80 </dev/null":          "no",
	} {
		got, err := cloud(t, 15*time.Second, script)
		if want == "no" && err == nil || want != "no" && got != want {
			t.Errorf("%s: %q %v, want %s", script, got, err, want)
		}
	}
	const secret = "S3CRET \x1b[2J"
	hold := `import socket, sys; s = socket.socket(socket.AF_INET, getattr(socket, sys.argv[2])); s.connect((sys.argv[1], 7)); s.send(b"x"); print(s.recv(1), flush=True); sys.stdin.read()`
	for _, c := range []struct {
		name, resource string
		argv           []string
	}{
		{"names", "echo", []string{"/usr/bin/python3", "-c", hold, "echo.corp.test", "SOCK_STREAM", secret}},
		{"names, UDP", "echo", []string{"/usr/bin/python3", "-c", hold, "echo.corp.test", "SOCK_DGRAM", secret}},
		{"tun", "net", []string{"/usr/bin/python3", "-c", hold, "10.77.0.14", "SOCK_STREAM", secret}},
		{"tun, UDP", "net", []string{"/usr/bin/python3", "-c", hold, "10.77.0.14", "SOCK_DGRAM", secret}},
		{"proxy, SOCKS5", "net", []string{"/usr/bin/python3", "-c", holdBySOCKS, "10.77.0.14", st.Proxy, secret}},
		{"proxy, HTTP", "net", []string{"/usr/bin/python3", "-c", holdByHTTP, "10.77.0.14", st.Proxy, secret}},
		{"proxy, UDP", "net", []string{"/usr/bin/python3", "-c", holdByUDP, "10.77.0.14", st.Proxy, secret}},
		{"run", "net", []string{helper, "run", "--", "/usr/bin/python3", "-c", hold, "10.77.0.14", "SOCK_STREAM", secret}},
		{"run, UDP", "net", []string{helper, "run", "--", "/usr/bin/python3", "-c", hold, "10.77.0.14", "SOCK_DGRAM", secret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], c.argv[0], c.argv[1:]...)
			in, _ := cmd.StdinPipe()
			out, _ := cmd.StdoutPipe()
			said := new(syncBuffer)
			cmd.Stderr = said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "b'x'\n" {
				t.Fatalf("%q, %v\n%s", line, err, said)
			}
			var mine client
			eventually(t, 5*time.Second, "the program is told", func() bool {
				for _, k := range d.clients(c.resource) {
					if strings.HasPrefix(k.Program, "python3") && k.User == world.Info().Users[lab.Dev].Name && strings.Contains(onCloud(t, fmt.Sprintf("tr '\\0' ' ' < /proc/%d/cmdline || true", k.PID)), c.argv[len(c.argv)-3]) {
						mine = k
					}
				}
				return mine.PID != 0
			})
			var told struct {
				Arguments string `json:"arguments"`
			}
			if err := d.Gateway.Call(ctx, "client/arguments", map[string]any{"resource": c.resource, "pid": mine.PID}, &told); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(told.Arguments, "/usr/bin/python3 -c ") || !strings.HasSuffix(told.Arguments, `"S3CRET \x1b[2J"`) {
				t.Errorf("%q", told.Arguments)
			}
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
	var told json.RawMessage
	if err := d.Gateway.Call(t.Context(), "client/arguments", map[string]any{"resource": "echo", "pid": 1}, &told); err == nil {
		t.Errorf("of a program without a flow: %s", told)
	}
	if log := d.Gateway.Log.String() + d.Capture.Log.String(); strings.Contains(log, "S3CRET") {
		t.Errorf("arguments in a log:\n%s", log)
	}
}
