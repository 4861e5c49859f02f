//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/matrix"
	"golang.org/x/sys/unix"
)

// matrixResources are everything that the clients ask for, by name and by address.
const matrixResources = `[
	{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
	{"name": "npm", "host": "npm.corp.test", "ports": [4873]},
	{"name": "web", "host": "web.corp.test", "ports": [80, 443]},
	{"name": "git", "host": "git.corp.test", "ports": [22]},
	{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]},
	{"name": "ntp", "host": "ntp.corp.test", "ports": [123], "protocols": ["udp"]},
	{"name": "domain", "host": "*.corp.test", "ports": [80]},
	{"name": "corp", "host": "10.77.0.0/24", "ports": [7, 22, 53, 80, 123, 443, 4873, 5432], "protocols": ["tcp", "udp", "icmp"]},
	{"name": "dead ends", "host": "10.77.8.0/23", "ports": [80]}
]`

// TestMatrix holds test/matrix against the lab: what should work does, and what
// cannot does not.
func TestMatrix(t *testing.T) {
	cells := matrix.Pairwise()
	if soak() {
		cells = matrix.All()
	}
	kit := makeKit(t)
	for _, privilege := range matrix.Privileges() {
		t.Run(privilege, func(t *testing.T) {
			r := arrange(t, privilege)
			for _, tiers := range [][]string{{matrix.Names, matrix.Proxy, matrix.Run}, {matrix.Tun}} {
				t.Run(strings.Join(tiers, " and "), func(t *testing.T) {
					s := r.connect(t, slices.Contains(tiers, matrix.Tun))
					for _, tier := range tiers {
						s.checkServed(t, privilege, tier)
					}
					asked := func(c matrix.Cell) bool {
						// Names lead to the device while there is one.
						byDevice := slices.Contains(tiers, matrix.Tun) && matrix.Served(privilege, matrix.Tun)
						return c.Privilege == privilege && (slices.Contains(tiers, c.Tier) || byDevice && c.Tier == matrix.Names && c.Client != matrix.Ping)
					}
					t.Run("by", func(t *testing.T) {
						for _, c := range cells {
							if asked(c) {
								t.Run(c.Tier+" "+c.Client, func(t *testing.T) {
									t.Parallel()
									r.check(t, c, kit.ask(c.Client, c.Tier, s.Proxy))
								})
							}
						}
					})
					s.stop()
					eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
				})
			}
		})
	}
}

// checkServed holds what the session reports against the matrix.
func (s *session) checkServed(t *testing.T, privilege, tier string) {
	t.Helper()
	resource, mark := "web", tier
	switch tier {
	case matrix.Names:
		mark = "web.corp.test:80"
	case matrix.Tun:
		resource = "corp"
	case matrix.Run:
		return // no business of the session's
	}
	at := slices.IndexFunc(s.first.Resources, func(r eventResource) bool { return r.Name == resource })
	if at < 0 {
		t.Fatalf("no resource %s in %+v", resource, s.first)
	}
	r := s.first.Resources[at]
	if want := matrix.Served(privilege, tier); slices.Contains(r.Served, mark) != want {
		t.Errorf("%s is served by %v, trouble %q; by %s: want %v", resource, r.Served, r.Trouble, tier, want)
	} else if !want && r.Trouble == "" && len(s.first.Notes) == 0 {
		t.Errorf("nobody is told why there is no %s", tier)
	}
}

// rights are a user of cloud and a way to start programs as that user.
type rights struct {
	user  lab.User
	enter []string // in front of a command line
}

// arrange makes the rights. All that it starts inherits what was taken away.
func arrange(t *testing.T, privilege string) rights {
	t.Helper()
	users := world.Info().Users
	r := rights{user: users[lab.Dev], enter: []string{"ip", "netns", "exec", world.Cloud.NS}}
	var setpriv []string
	switch privilege {
	case matrix.Root, matrix.RootBare, matrix.RootNone:
		r.user = lab.User{Name: "root", Home: filepath.Join(filepath.Dir(helper), "root")}
		if err := os.MkdirAll(r.user.Home, 0o700); err != nil {
			t.Fatal(err)
		}
	case matrix.Neither:
		r.user = users[lab.Other]
	case matrix.SealedHosts:
		r.enter = append(r.enter, "sh", "-c", `mount -o remount,bind,ro /etc/hosts && exec "$@"`, "sh")
	}
	switch privilege {
	case matrix.RootBare, matrix.SudoBare:
		setpriv = []string{"--inh-caps=-all", "--bounding-set=-all," + containerCaps}
	case matrix.RootNone, matrix.Neither:
		setpriv = []string{"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"}
	}
	if r.user.UID != 0 {
		setpriv = append(setpriv, "--reuid="+strconv.Itoa(r.user.UID), "--regid="+strconv.Itoa(r.user.GID), "--clear-groups")
	}
	if setpriv != nil {
		r.enter = append(append(append(r.enter, "setpriv"), setpriv...), "--")
	}
	r.enter = append(r.enter, "env", "HOME="+r.user.Home, "USER="+r.user.Name, "LOGNAME="+r.user.Name)
	r.mustHave(t, privilege)
	key, err := os.ReadFile(world.Info().Git.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.user.Home, "key")
	mustWrite(t, file, string(key))
	if err := os.Chown(file, r.user.UID, r.user.GID); err != nil {
		t.Fatal(err)
	}
	return r
}

// containerCaps are the capabilities that Docker leaves to a container.
const containerCaps = "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"

// mustHave asks the kernel what a program has that r starts.
func (r rights) mustHave(t *testing.T, privilege string) {
	t.Helper()
	// The user's id, whether the user has capabilities, has any within reach, has
	// NET_ADMIN or SYS_ADMIN within reach, and gains none by a setuid program.
	want := map[string]string{
		matrix.Root:        "0 true true true 0",
		matrix.Sudo:        "5501 false true true 0",
		matrix.SealedHosts: "5501 false true true 0",
		matrix.RootBare:    "0 true true false 0",
		matrix.SudoBare:    "5501 false true false 0",
		matrix.RootNone:    "0 false false false 1",
		matrix.Neither:     "5502 false false false 1",
	}[privilege]
	status, err := world.Cloud.Command(t.Context(), r.enter[0], append(slices.Clone(r.enter[1:]), "cat", "/proc/self/status")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	field := func(key string) string {
		_, rest, _ := strings.Cut(string(status), "\n"+key+":")
		return strings.Fields(rest)[0]
	}
	caps := func(key string) uint64 {
		n, err := strconv.ParseUint(field(key), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const admin = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	held := caps("CapPrm") | caps("CapEff") | caps("CapInh") | caps("CapAmb")
	got := fmt.Sprint(field("Uid"), " ", held != 0, caps("CapBnd") != 0, caps("CapBnd")&admin != 0, " ", field("NoNewPrivs"))
	if got != want {
		t.Fatalf("%s: %s, want %s\n%s", privilege, got, want, status)
	}
}

func (r rights) connect(t *testing.T, tun bool) *session {
	t.Helper()
	args := []string{"--tun=off"}
	if tun {
		args = nil
	}
	return connectBy(t, matrixResources, args, append(slices.Clone(r.enter), helper, "capture", "--stdio", "--log-level=debug")...)
}

// check asks and compares with what the matrix says.
func (r rights) check(t *testing.T, c matrix.Cell, q question) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := slices.Clone(r.enter)
	if c.Tier == matrix.Run {
		argv = append(argv, helper, "run", "--")
	}
	argv = append(argv, "bash", "-uo", "pipefail", "-c", "cd $(mktemp -d -p $HOME)\n"+q.script)
	cmd := world.Cloud.Command(ctx, argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	works := err == nil && strings.Contains(string(out), q.want)
	switch why := c.Cannot(); {
	case works && why != "":
		t.Errorf("it works, while the matrix says: %s", why)
	case !works && why == "":
		t.Errorf("%v\n%s\nwant %q", err, out, q.want)
	case !works:
		t.Logf("cannot: %s", why)
	}
}

// question is a script, and what is in its output if the far end has answered.
type question struct{ script, want string }

// kit has the programs that are built for the clients.
type kit struct{ goGet, muslEcho string }

func makeKit(t *testing.T) kit {
	t.Helper()
	return kit{goGet: build(t, "get.go", goProgram, "go", "build"), muslEcho: build(t, "musl.c", muslProgram, "musl-gcc", "-static")}
}

// ask returns how a client asks by a tier: by name where names are served, else
// by address, so that no other tier can have answered.
func (k kit) ask(client, tier, proxy string) question {
	i := world.Info()
	at := func(name, address string) string {
		if tier == matrix.Names {
			return name
		}
		return address
	}
	web := at(i.Web.Host, i.Web.Address)
	environment, byProxy := "", func(string) string { return "" }
	if tier == matrix.Proxy {
		environment = fmt.Sprintf("export http_proxy=http://%[1]s https_proxy=http://%[1]s no_proxy= NODE_USE_ENV_PROXY=1\n", proxy)
		byProxy = func(s string) string { return s }
	}
	q := func(want, format string, args ...any) question {
		return question{environment + fmt.Sprintf(format, args...), want}
	}
	server := at("", "@"+strings.TrimSuffix(i.DNS.Address, ":53"))
	switch client {
	case matrix.Psql:
		return q("42", "PGCONNECT_TIMEOUT=20 PGPASSWORD=%s psql -h %s -p %d -U %s -d %s -Atc 'select 6*7'",
			i.Postgres.Password, at(i.Postgres.Host, i.Postgres.Address), i.Postgres.Port, i.Postgres.User, i.Postgres.Database)
	case matrix.Curl:
		return q("got 200", "curl -sS -m 20 -o /dev/null -w 'got %%{http_code}' http://%s/", web)
	case matrix.Git:
		ssh := "ssh -F " + i.Git.SSHConfig + " -i $HOME/key -o ConnectTimeout=20" + byProxy(" -o ProxyCommand='nc -X 5 -x "+proxy+" %h %p'")
		return q(i.Git.Head, `GIT_SSH_COMMAND="%s" git clone -q %s x && git -C x rev-parse HEAD`, ssh, strings.Replace(i.Git.URL, i.Git.Host, at(i.Git.Host, gitAddress), 1))
	case matrix.Npm:
		registry := strings.Replace(i.NPM.URL, i.NPM.Host, at(i.NPM.Host, i.NPM.Address), 1)
		return q("hello from the private network", "export npm_config_cache=$PWD/cache; echo '{}' >package.json; npm install --no-audit --no-fund --no-update-notifier --fetch-retries=0 --registry %s %s && cat node_modules/%[2]s/index.js", registry, i.NPM.Package)
	case matrix.Python:
		return q("HTTP/1.1", "python3 -c 'import urllib.request; print(urllib.request.urlopen(\"http://%s/\", timeout=20).read().decode())'", web)
	case matrix.Java:
		host, port, _ := strings.Cut(proxy, ":")
		return q(i.Web.Host, "keytool -J-XX:TieredStopAtLevel=1 %s -printcert -sslserver %s:443", byProxy("-J-Dhttps.proxyHost="+host+" -J-Dhttps.proxyPort="+port), web)
	case matrix.Node:
		return q("HTTP/1.1", "%s -e 'fetch(\"http://%s/\").then(r => r.text()).then(console.log)'", i.NPM.Node, web)
	case matrix.Go:
		return q("200 true", "%s http://%s/", k.goGet, web)
	case matrix.Musl:
		return q("echoed", "%s %s", k.muslEcho, at(i.Echo.Host, i.Echo.Address))
	case matrix.Dig, matrix.DigTCP:
		return q("0 5 80 web.corp.test.", "%s +short +tries=2 +timeout=8 %s _http._tcp.corp.test SRV", client, server)
	case matrix.UDP:
		if tier == matrix.Proxy {
			return q("echoed", "python3 -c '%s' %s %s", socksEcho, i.Echo.Address, proxy)
		}
		return q("echoed", "python3 -c '%s' %s", udpEcho, at(i.Echo.Host, i.Echo.Address))
	case matrix.NTP:
		return q(" s", "ntpdig -t 8 %s", at(i.NTP.Host, i.NTP.Address))
	case matrix.Ping:
		// A host that is not there must not answer.
		return q("alive, not there", "ping -q -c 1 -W 5 %s && echo -n alive, && ! ping -q -c 1 -W 2 %s >/dev/null 2>&1 && echo ' not there'",
			at(i.Echo.Host, i.Echo.Address), at("unreachable.corp.test", "10.77.8.1"))
	}
	panic("no question for " + client)
}

const gitAddress = "10.77.0.13"

const muslProgram = `
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a;
	int e = getaddrinfo(argv[1], "7", &hints, &a);
	if (e) { fprintf(stderr, "%s\n", gai_strerror(e)); return 1; }
	char b[7] = {0};
	for (; a; a = a->ai_next) {
		int s = socket(a->ai_family, a->ai_socktype, 0);
		if (!connect(s, a->ai_addr, a->ai_addrlen) && write(s, "echoed", 6) == 6 && recv(s, b, 6, MSG_WAITALL) == 6) { puts(b); return 0; }
		perror(argv[1]);
		close(s);
	}
	return 1;
}
`

const udpEcho = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(8)
s.sendto(b"echoed", (sys.argv[1], 7)); print(s.recv(100).decode())`

// socksEcho is udpEcho by UDP ASSOCIATE.
const socksEcho = `
import socket, struct, sys
host, port = sys.argv[2].rsplit(":", 1)
tcp = socket.create_connection((host, int(port)), 8)
tcp.sendall(b"\x05\x01\x00"); assert tcp.recv(2) == b"\x05\x00"
tcp.sendall(b"\x05\x03\x00\x01\0\0\0\0\0\0"); r = tcp.recv(10); assert r[1] == 0, r
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(8)
s.sendto(b"\0\0\0\x01" + socket.inet_aton(sys.argv[1]) + struct.pack(">H", 7) + b"echoed", (socket.inet_ntoa(r[4:8]), struct.unpack(">H", r[8:10])[0]))
print(s.recv(100)[10:].decode())`
