//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

// runResources are reached by address alone: no name leads there.
const runResources = `[
	{"name": "database", "host": "10.77.0.10", "ports": [5432]},
	{"name": "servers", "host": "10.77.0.0/28", "ports": [7, 80, 99], "protocols": ["tcp", "udp"]},
	{"name": "six", "host": "fd77::/64", "ports": [80]}
]`

// underRun runs a shell script of cloud's developer under causeway run.
func underRun(t *testing.T, limit time.Duration, args, script string) (string, error) {
	t.Helper()
	file := filepath.Join(filepath.Dir(helper), "script-"+fmt.Sprint(time.Now().UnixNano()))
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	return cloud(t, limit, helper+" run "+args+" -- bash -euo pipefail "+file)
}

func mustRun(t *testing.T, args, script string) string {
	t.Helper()
	out, err := underRun(t, 40*time.Second, args, script)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// build compiles a small program where cloud's developer may execute it.
func build(t *testing.T, name, source string, compiler ...string) string {
	t.Helper()
	src, bin := filepath.Join(t.TempDir(), name), filepath.Join(filepath.Dir(helper), strings.TrimSuffix(name, filepath.Ext(name)))
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), compiler[0], append(compiler[1:], "-o", bin, src)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = os.Remove(bin) })
	return bin
}

const goProgram = `package main

import ("fmt"; "io"; "net/http"; "os"; "time")

func main() {
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get(os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	b, _ := io.ReadAll(r.Body)
	fmt.Println(r.StatusCode, len(b) > 0)
}
`

const cProgram = `
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7)}, from;
	socklen_t n = sizeof from;
	inet_pton(AF_INET, argv[1], &a.sin_addr);
	char b[16] = {0};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(s, (void *)&a, sizeof a) || write(s, "tcp", 3) != 3 || read(s, b, 3) != 3) { perror("tcp"); return 1; }
	getpeername(s, (void *)&from, &n);
	printf("%s from %s, ", b, inet_ntoa(from.sin_addr));
	int u = socket(AF_INET, SOCK_DGRAM, 0);
	memset(b, 0, sizeof b); memset(&from, 0, sizeof from); n = sizeof from;
	if (sendto(u, "udp", 3, 0, (void *)&a, sizeof a) != 3 || recvfrom(u, b, sizeof b, 0, (void *)&from, &n) != 3) { perror("udp"); return 1; }
	printf("%s from %s\n", b, inet_ntoa(from.sin_addr));
	return 0;
}
`

// asyncProbe connects as event loops do: to what answers, refuses, is not there
// and to several at a time.
const asyncProbe = `
import asyncio
async def echo(i):
    r, w = await asyncio.wait_for(asyncio.open_connection("10.77.0.14", 7), 10)
    w.write(b"%d" % i); await w.drain(); w.write_eof()
    b = await r.read(); w.close()
    assert b == b"%d" % i, b
    assert w.get_extra_info("peername") == ("10.77.0.14", 7)
async def fails(host, port):
    try: await asyncio.wait_for(asyncio.open_connection(host, port), 20)
    except OSError as e: return e.errno
async def main():
    await asyncio.gather(*(echo(i) for i in range(100)))
    import errno
    print(errno.errorcode[await fails("10.77.0.14", 99)])
asyncio.run(main())
`

func TestRunCarriesAddresses(t *testing.T) {
	s := connect(t, runResources, "--tun=off")
	i := world.Info()
	if out, err := cloud(t, 10*time.Second, "curl -sS -m 3 http://10.77.0.12/"); err == nil {
		t.Fatalf("cloud reaches corp without causeway: %q", out)
	}
	direct := mustOn(t, world.Laptop, "curl -sS http://10.77.0.12/")
	for _, only := range []string{"", "--only"} {
		t.Run("curl "+only, func(t *testing.T) {
			if out := mustRun(t, only, "curl -sS -m 10 http://10.77.0.12/"); out != direct {
				t.Errorf("got %q, want %q", out, direct)
			}
			if out := mustRun(t, only, "curl -g -sS -m 10 'http://[fd77::12]/'"); out != "HTTP/1.1 [fd77::12]" {
				t.Errorf("IPv6: got %q", out)
			}
		})
		t.Run("psql "+only, func(t *testing.T) {
			script := fmt.Sprintf("PGPASSWORD=%s psql -h 10.77.0.10 -p %d -U %s -d %s -Atc 'select 6*7'", i.Postgres.Password, i.Postgres.Port, i.Postgres.User, i.Postgres.Database)
			if out := mustRun(t, only, script); out != "42" {
				t.Errorf("psql says %q", out)
			}
		})
		t.Run("static Go "+only, func(t *testing.T) {
			bin := build(t, "get.go", goProgram, "go", "build")
			if out := mustRun(t, only, bin+" http://10.77.0.12/"); out != "200 true" {
				t.Errorf("got %q", out)
			}
		})
		t.Run("static C "+only, func(t *testing.T) {
			bin := build(t, "echo.c", cProgram, "gcc", "-static")
			if out := mustRun(t, only, bin+" 10.77.0.14"); out != "tcp from 10.77.0.14, udp from 10.77.0.14" {
				t.Errorf("got %q", out)
			}
		})
		t.Run("asyncio "+only, func(t *testing.T) {
			if out := mustRun(t, only, "python3 - <<'E'\n"+asyncProbe+"E\n"); out != "ECONNREFUSED" {
				t.Errorf("got %q", out)
			}
		})
	}
	t.Run("what no resource has goes where it went", func(t *testing.T) {
		out, err := underRun(t, 20*time.Second, "", "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://198.51.100.10/")
		plain, plainErr := cloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://198.51.100.10/")
		if out != plain || (err == nil) != (plainErr == nil) {
			t.Errorf("got %q %v, without run %q %v", out, err, plain, plainErr)
		}
	})
	t.Run("large and slow", func(t *testing.T) {
		out := mustRun(t, "", `head -c 20000000 /dev/urandom > $HOME/big; (cat $HOME/big; ) | timeout 30 python3 -c '
import socket, sys, threading, hashlib
s = socket.create_connection(("10.77.0.14", 7)); h = hashlib.sha256(); data = sys.stdin.buffer.read()
def send(): s.sendall(data); s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
while b := s.recv(1 << 16): h.update(b)
print(h.hexdigest() == hashlib.sha256(data).hexdigest())'; rm $HOME/big`)
		if out != "True" {
			t.Errorf("got %q", out)
		}
	})
	s.stop()
	if out, err := cloud(t, 10*time.Second, helper+" run -- true"); err == nil || !strings.Contains(out, "no capture of yours runs") {
		t.Errorf("after the session: %v %q", err, out)
	}
}

func TestRunOnly(t *testing.T) {
	connect(t, runResources, "--tun=off")
	for name, script := range map[string]string{
		"curl":     `! curl -sS -m 5 http://198.51.100.10/ 2>&1`,
		"tcp":      `! timeout 5 bash -c 'exec 3<>/dev/tcp/198.51.100.10/80' 2>&1`,
		"udp":      `! python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("198.51.100.53", 53))' > $HOME/said 2>&1; grep -q 'Permission denied' $HOME/said`,
		"packet":   `! python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)' > $HOME/said 2>&1; grep -q 'Permission denied' $HOME/said`,
		"loopback": `python3 -c 'import socket; l = socket.create_server(("127.0.0.1", 0)); socket.create_connection(l.getsockname())'`,
		"nested":   helper + ` run -- curl -sS -m 10 -o /dev/null http://10.77.0.12/`,
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := underRun(t, 20*time.Second, "--only", script); err != nil {
				t.Errorf("%v %s", err, out)
			}
		})
	}
}

// TestRunUnderLoad makes hundreds of connections and a long stream under run and
// by the proxy, and logs what they cost.
func TestRunUnderLoad(t *testing.T) {
	s := connect(t, runResources, "--tun=off")
	direct := func(run string) (micros, rate float64) {
		out, err := cloud(t, time.Minute, run+" python3 -c '"+costProbe+"' "+s.Proxy)
		if _, scan := fmt.Sscan(out, &micros, &rate); err != nil || scan != nil {
			t.Fatalf("%v %v %s", err, scan, out)
		}
		return micros, rate
	}
	runMicros, runRate := direct(helper + " run --")
	proxyMicros, proxyRate := direct("")
	t.Logf("run: %.0f us a connection, %.0f MB/s echoed; proxy: %.0f us, %.0f MB/s", runMicros, runRate, proxyMicros, proxyRate)
}

// costProbe measures by run if it is under it, else by the SOCKS5 proxy.
const costProbe = `
import os, socket, struct, sys, threading, time
host, port = sys.argv[1].rsplit(":", 1)
def connect():
    if os.environ.get("CAUSEWAY_RUN"): return socket.create_connection(("10.77.0.14", 7))
    s = socket.create_connection((host, int(port)))
    s.sendall(b"\x05\x01\x00"); s.recv(2)
    s.sendall(b"\x05\x01\x00\x01" + socket.inet_aton("10.77.0.14") + struct.pack(">H", 7)); s.recv(10)
    return s
def one():
    s = connect(); s.sendall(b"x"); s.recv(1); s.close()
one(); n = 300; t = time.perf_counter()
for _ in range(n): one()
micros = (time.perf_counter() - t) / n * 1e6
s = connect(); data = bytes(1 << 16); total = 64 << 20
def send():
    for _ in range(total // len(data)): s.sendall(data)
    s.shutdown(socket.SHUT_WR)
t = time.perf_counter(); threading.Thread(target=send).start(); got = 0
while b := s.recv(1 << 18): got += len(b)
assert got == total
print(micros, total / (time.perf_counter() - t) / 1e6)
`

// mustOn runs a shell script on a host, as root.
func mustOn(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Command(t.Context(), "bash", "-euo", "pipefail", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
