//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// bystander does things that have nothing to do with any resource and prints a
// line for each. Its arguments are the musl client, Node, the
// other user's id and the Go client.
const bystander = `
import glob, os, socket, subprocess, sys
musl, node, other, go = sys.argv[1:5]
public = "public.example.test"

def sh(name, script, limit=15):
	try:
		p = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit)
		out = p.stdout.decode(errors="replace").strip() + " exit " + str(p.returncode)
	except subprocess.TimeoutExpired:
		out = "still running"
	print(name + ": " + out.replace("\n", " | "), flush=True)

def listen(name, family, kind, host, port):
	s = socket.socket(family, kind)
	try:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1) # as servers do
		if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
		s.bind((host, port))
		if kind == socket.SOCK_STREAM:
			s.listen()
			c = socket.create_connection(("::1" if family == socket.AF_INET6 else "127.0.0.1", port), 5)
			a, _ = s.accept()
			a.sendall(b"own server"); a.close()
			out = c.recv(100).decode()
			c.close()
		else:
			c = socket.socket(family, kind)
			c.sendto(b"own server", ("127.0.0.1", port))
			s.settimeout(5)
			out = s.recv(100).decode()
			c.close()
	except OSError as e:
		out = e.strerror or str(e)
	s.close()
	print(name + ": " + out, flush=True)

def refused(name, host, port):
	try:
		socket.create_connection((host, port), 5)
		out = "connected"
	except OSError as e:
		out = e.strerror or str(e)
	print(name + ": " + out, flush=True)

sh("glibc looks up a public name", "getent ahosts " + public)
sh("glibc looks up localhost", "getent ahosts localhost")
sh("glibc looks up this host", "getent hosts $(hostname)")
sh("glibc looks up a public name that does not exist", "getent ahosts nothing.example.test")
sh("glibc with a search list and ndots:5", "LOCALDOMAIN='a.example.test b.example.test' RES_OPTIONS=ndots:5 getent ahosts " + public)
sh("glibc completes a short name", "LOCALDOMAIN=example.test getent ahosts public")
sh("reverse look-up", "getent hosts 198.51.100.10")
sh("musl looks up a public name", musl + " " + public + " 2>&1 | head -n 1")
sh("Go looks up a public name", go + " http://" + public + "/")
sh("Node looks up a public name", node + " -e 'require(\"dns\").lookup(\"" + public + "\", {all: true}, (e, a) => console.log(e?.code, JSON.stringify(a)))'")
sh("Node by c-ares", node + " -e 'require(\"dns\").resolve4(\"" + public + "\", (e, a) => console.log(e?.code, a?.join()))'")
sh("Node by c-ares, no such name", node + " -e 'require(\"dns\").resolve4(\"nothing.example.test\", (e, a) => console.log(e?.code, a?.join()))'")
sh("dig by UDP", "dig +short +tries=1 " + public + " | grep -v '^;'")
sh("dig by TCP", "dig +short +tries=1 +tcp " + public + " | grep -v '^;'")
sh("dig of records", "dig +short +tries=1 example.test SOA" + " | grep -v '^;'")
sh("dig asks a server by itself", "dig +short +tries=1 @198.51.100.53 " + public + " | grep -v '^;'")
sh("dig of a name that is nobody's", "dig +noall +comments +tries=1 elsewhere.test | grep -o 'status: [A-Z]*'")
sh("a nested container gets the nameservers that are not on loopback", "dig +short +tries=1 @$(sed -n 's/^nameserver //p' /etc/resolv.conf | grep -v '^127[.]' | head -n 1) " + public + " | grep -v '^;'")
sh("another user looks up a public name", "sudo -n setpriv --reuid=" + other + " --clear-groups getent ahosts " + public)
sh("root looks up a public name", "sudo -n getent hosts " + public)
sh("curl of a public page", "curl -sS -m 10 http://" + public + "/")
sh("curl by address", "curl -sS -m 10 http://198.51.100.10/")
sh("curl with a proxy of its own", "http_proxy=http://127.0.0.1:1 curl -sS -m 10 http://" + public + "/ 2>&1 | sed 's/after [0-9]* ms/later/'")
sh("proxy variables", "env | grep -i _proxy")
sh("ping of loopback", "ping -n -q -c 1 -W 5 127.0.0.1 | grep -o '1 received'")
sh("ping of a public host", "ping -n -q -c 1 -W 5 198.51.100.10 | grep -o '1 received'")
sh("route to a public host", "ip -o route get 198.51.100.10 | grep -o 'dev [a-z]* src [0-9.]*'")
sh("default route", "ip route show default")
sh("tools of the host", "hostname; id -un; sudo -n id -un")
refused("nobody listens, IPv4", "127.0.0.1", 5999)
refused("nobody listens, IPv6", "::1", 5999)
refused("nobody listens at a public host", "198.51.100.10", 5999)
listen("own server, IPv6 loopback", socket.AF_INET6, socket.SOCK_STREAM, "::1", 8080)
listen("own server on 127.0.0.1:8080", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", 8080)
listen("own server on 127.0.0.1:5432", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", 5432)
listen("own server on [::]:5432", socket.AF_INET6, socket.SOCK_STREAM, "::", 5432)
for port in 80, 443, 5432, 7:
	listen("own server on 0.0.0.0:%d" % port, socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", port)
listen("own UDP server on 0.0.0.0:7", socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0", 7)
`

// bystanderResources are names alone, as most people have them.
const bystanderResources = `[
	{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
	{"name": "web", "host": "web.corp.test", "ports": [80, 443]},
	{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]},
	{"name": "wild", "host": "*.corp.test", "ports": [80, 443]}
]`

// TestBystander does things that have nothing to do with the resources before,
// while and after they are served: their results stay the same.
func TestBystander(t *testing.T) {
	kit := makeKit(t)
	other := world.Info().Users[lab.Other]
	look := func() []string {
		t.Helper()
		script := fmt.Sprintf("python3 - %s %s %d %s <<'END'\n%s\nEND", kit.muslEcho, world.Info().NPM.Node, other.UID, kit.goGet, bystander)
		return strings.Split(mustCloud(t, 3*time.Minute, script), "\n")
	}
	before := look()
	t.Logf("%d things, such as\n%s", len(before), strings.Join(before, "\n"))
	if len(before) < 30 {
		t.Fatal("too few things were done")
	}
	same := func(when string) {
		t.Helper()
		after := look()
		for i, line := range before {
			if i >= len(after) || after[i] != line {
				t.Errorf("%s:\n%s\nbefore connect:\n%s", when, strings.Join(after[min(i, len(after)):min(i+1, len(after))], ""), line)
			}
		}
	}
	d := driveWith(t, shim.Settings{Resources: bystanderResources})
	mustCloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null http://web.corp.test/")
	same("connected")
	d.Cut()
	same("reconnecting")
	d.link()
	mustCloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null http://web.corp.test/")
	_ = d.Close()
	eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
	same("disconnected")

	d = driveWith(t, shim.Settings{Resources: bystanderResources})
	mustCloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null http://web.corp.test/")
	if err := syscall.Kill(d.background("capture").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the remote is clean", func() bool { return !strings.Contains(hostsFile(t)+resolvConf(t), "causeway") })
	same("the capture was killed")
	_ = d.Close()

	d = driveWith(t, shim.Settings{Resources: bystanderResources})
	mustCloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null http://web.corp.test/")
	all := append(running("capture"), running("privileged")...)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} { // all at once, as when the machine loses power
		for _, pid := range all {
			_ = syscall.Kill(pid, signal)
		}
	}
	same("everything was killed")
	_ = d.Close()
	_ = driveWith(t, shim.Settings{Resources: bystanderResources}).Close() // which cleans up
	eventually(t, 10*time.Second, "the remote is clean", func() bool { return !strings.Contains(hostsFile(t)+resolvConf(t), "causeway") })
}
