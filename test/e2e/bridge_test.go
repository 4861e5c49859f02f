//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

const (
	bridgeResources = `[
		{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
		{"name": "domain", "host": "*.corp.test", "ports": [80]},
		{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]},
		{"name": "net", "host": "10.77.0.0/24", "ports": [80]},
	]`
	bridgeUp = `ip link add br-box type bridge; ip addr add 172.30.0.1/24 dev br-box; ip addr add 172.30.0.7/24 dev br-box; ip link set br-box up
		ip link set box master br-box up; ip route add 172.31.0.2 dev br-box`
	bridgeTraces = `ip route show table local | grep -E 'local (198\.19|100\.127)\..*/20' || true; ss -Hlntu | grep -E '172\.30\.0\.1|198\.19\.|100\.127\.' || true`
)

// box is a container of cloud's: a namespace behind a bridge there, whose only
// nameserver is the host's address on it.
type box struct{ ns string }

func newBox(t *testing.T) box {
	t.Helper()
	b := box{world.Cloud.NS + "-box"}
	etc := filepath.Join("/etc/netns", b.ns)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(etc, "resolv.conf"), "nameserver 172.30.0.1\n")
	mustWrite(t, filepath.Join(etc, "hosts"), "127.0.0.1 localhost\n")
	t.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", b.ns).Run()
		_ = os.RemoveAll(etc)
		_ = exec.Command("ip", "-n", world.Cloud.NS, "link", "del", "br-box").Run()
	})
	for _, args := range [][]string{{"netns", "add", b.ns}, {"-n", world.Cloud.NS, "link", "add", "box", "type", "veth", "peer", "name", "eth0", "netns", b.ns}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
	onCloud(t, bridgeUp)
	b.mustRun(t, `ip link set lo up; ip addr add 172.30.0.2/24 dev eth0; ip addr add 172.31.0.2/32 dev eth0; ip link set eth0 up
		ip route add default via 172.30.0.1`)
	return b
}

func (b box) run(t *testing.T, script string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", "netns", "exec", b.ns, "bash", "-euo", "pipefail", "-c", script).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (b box) mustRun(t *testing.T, script string) string {
	t.Helper()
	out, err := b.run(t, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// TestBridge serves a container of the remote by names, and nobody else; low
// ports take the privileged subcommand.
func TestBridge(t *testing.T) {
	b := newBox(t)
	onCloud(t, "echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start")
	defer onCloud(t, "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start")

	s := connect(t, bridgeResources)
	if got := onCloud(t, bridgeTraces); got != "" {
		t.Errorf("without the opt-in there is %s", got)
	}
	s.stop()

	s = connect(t, bridgeResources, "--bridge=br-box", "--names=off", "--tun=off")
	if notes := strings.Join(s.first.Notes, "\n"); !strings.Contains(notes, "Containers on the bridge br-box") || !strings.Contains(notes, "--dns 172.30.0.1") {
		t.Errorf("notes: %s", notes)
	}
	i := world.Info()
	psql := fmt.Sprintf("PGPASSWORD=%s psql -h orders-db.corp.test -p %d -U %s -d %s -Atc 'select 6*7'", i.Postgres.Password, i.Postgres.Port, i.Postgres.User, i.Postgres.Database)
	curl := "curl -sS -m 5 -o /dev/null -w '%{http_code}' "
	www := b.mustRun(t, "dig +short www.corp.test | tail -1") // after the name that it is an alias of
	for _, c := range []struct{ name, script, want string }{
		{"psql", psql, "42"},
		{"curl, a name of the domain", curl + "http://www.corp.test/", "200"},
		{"UDP", "echo hello | nc -u -w1 echo.corp.test 7", "hello"},
		{"TCP", "echo hello | nc -N echo.corp.test 7", "hello"},
		{"the same address again", "dig +tcp +short www.corp.test | tail -1", www},
		{"another for another name", "[ $(dig +short web.corp.test | tail -1) != " + www + " ] && echo yes", "yes"},
		{"no IPv6", "dig AAAA www.corp.test | grep -o 'status: [A-Z]*, \\|ANSWER: [0-9]*' | tr -d '\\n'", "status: NOERROR, ANSWER: 0"},
		{"its name", "dig +short -x " + www, "www.corp.test."},
		{"no such name", "dig gone.corp.test | grep -o 'status: [A-Z]*'", "status: NXDOMAIN"},
		{"the rest", "dig +short " + lab.PublicName, "198.51.100.10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := b.mustRun(t, c.script); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("nobody else", func(t *testing.T) {
		if !strings.HasPrefix(www, "198.19.") {
			t.Fatalf("the address is %q", www)
		}
		internet := func(script string) (string, error) {
			out, err := world.Internet.Command(t.Context(), "bash", "-c", script).CombinedOutput()
			return string(out), err
		}
		if out, err := internet("ip route add 198.19.0.0/16 via 198.51.100.2; ip route add 172.30.0.0/24 via 198.51.100.2"); err != nil {
			t.Fatal(out)
		}
		defer func() { _, _ = internet("ip route del 198.19.0.0/16; ip route del 172.30.0.0/24") }()
		var tries sync.WaitGroup
		ask := "dig +tries=1 +timeout=1 @172.30.0.1 www.corp.test | grep NOERROR"
		for name, try := range map[string]func() (string, error){
			"outside":        func() (string, error) { return internet(curl + "-m 2 http://" + www + "/") },
			"outside, DNS":   func() (string, error) { return internet(ask) },
			"this host":      func() (string, error) { return cloud(t, 5*time.Second, curl+"-m 1 http://"+www+"/") },
			"this host, DNS": func() (string, error) { return cloud(t, 5*time.Second, ask) },
			"this host, by another address there": func() (string, error) {
				return cloud(t, 5*time.Second, "dig +tries=1 +timeout=1 -b 172.30.0.7 @172.30.0.1 www.corp.test | grep NOERROR")
			},
			"by the bridge, elsewhere": func() (string, error) { return b.run(t, curl+"-m 1 --interface 172.31.0.2 http://"+www+"/") },
			"by the bridge, elsewhere, DNS": func() (string, error) {
				return b.run(t, "dig +tries=1 +timeout=1 -b 172.31.0.2 www.corp.test | grep NOERROR")
			},
			"by the bridge, elsewhere, DNS by TCP": func() (string, error) {
				return b.run(t, "dig +tcp +tries=1 +timeout=1 -b 172.31.0.2 "+lab.PublicName+" | grep NOERROR")
			},
		} {
			tries.Go(func() {
				if out, err := try(); err == nil {
					t.Errorf("%s got %q", name, out)
				}
			})
		}
		tries.Wait()
	})
	t.Run("the bridge made anew", func(t *testing.T) {
		onCloud(t, "ip link del br-box; "+bridgeUp)
		eventually(t, 15*time.Second, "the container is served again", func() bool {
			got, _ := b.run(t, curl+"http://www.corp.test/")
			return got == "200"
		})
	})
	s.stop()
	if got := onCloud(t, bridgeTraces); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestBridgeLeavesNothing kills what serves a bridge.
func TestBridgeLeavesNothing(t *testing.T) {
	b := newBox(t)
	kill := func(args ...string) {
		for _, pid := range running(args...) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, way := range []string{"the capture", "what adds the addresses", "both"} {
		t.Run(way, func(t *testing.T) {
			s := connect(t, bridgeResources, "--bridge=br-box")
			if got := onCloud(t, bridgeTraces); !strings.Contains(got, "local 198.19.") || !strings.Contains(got, "172.30.0.1%br-box:53") {
				t.Fatalf("served by %q", got)
			}
			switch way {
			case "the capture":
				s.freeze()
				kill("capture")
				eventually(t, 2*time.Second, "nothing is left", func() bool { return onCloud(t, bridgeTraces) == "" })
				s.stop()
				return
			case "what adds the addresses":
				kill("privileged")
				eventually(t, 15*time.Second, "it is served again", func() bool {
					got, _ := b.run(t, "curl -sS -m 3 -o /dev/null -w '%{http_code}' http://www.corp.test/")
					return got == "200" && strings.Count(onCloud(t, bridgeTraces), "local 198.19.") == 1
				})
				s.stop()
			case "both":
				_ = s.cmd.Process.Signal(syscall.SIGSTOP) // else it starts another
				pids := append(running("privileged"), running("capture")...)
				for _, pid := range pids {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				eventually(t, 2*time.Second, "no listener is left", func() bool { return !strings.Contains(onCloud(t, bridgeTraces), "172.30.0.1") })
				_ = s.cmd.Process.Signal(syscall.SIGCONT)
				s.stop()
				connect(t, bridgeResources).stop() // whose start cleans up
			}
			if got := onCloud(t, bridgeTraces); got != "" {
				t.Errorf("left: %s", got)
			}
		})
	}
}

// TestBridgeWithoutPrivilege has names share the host's address on the bridge, as
// far as no two of them have a port in common.
func TestBridgeWithoutPrivilege(t *testing.T) {
	b := newBox(t)
	other := world.Info().Users[lab.Other]
	s := connectBy(t, `[
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "echo", "host": "echo.corp.test", "ports": [7, 80]},
		{"name": "orders", "host": "orders-db.corp.test", "ports": [5432]},
	]`, []string{"--bridge=br-box"}, "ip", "netns", "exec", world.Cloud.NS, "setpriv", fmt.Sprintf("--reuid=%d", other.UID), fmt.Sprintf("--regid=%d", other.GID),
		"--clear-groups", "env", "HOME="+other.Home, helper, "capture", "--stdio")
	if got := b.mustRun(t, "curl -sS -m 5 -o /dev/null -w '%{http_code}' http://web.corp.test/; dig +short web.corp.test orders-db.corp.test; dig echo.corp.test | grep -o 'status: [A-Z]*'"); got != "200172.30.0.1\n172.30.0.1\nstatus: SERVFAIL" {
		t.Errorf("got %q", got)
	}
	if got := s.first.Resources[1].Trouble; !strings.Contains(got, "port 80 of 172.30.0.1") || !strings.Contains(got, "is that of web.corp.test") {
		t.Errorf("trouble: %q", got)
	}
}
