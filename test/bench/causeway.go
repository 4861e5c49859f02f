//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/test/bench/internal/load"
	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
	"github.com/causeway-dev/causeway/test/wan"
)

// The exec links over which Causeway is measured.
const (
	overTCP = "TCP" // a command that joins the helpers by an unencrypted TCP connection
	overSSH = "ssh" // ssh to cloud's sshd, as users configure it
)

// link returns the command line of the link for `causeway connect`.
func (w *world) link(ctx context.Context, c condition, kind string) ([]string, error) {
	capture := []string{w.helper, "capture", "--stdio"}
	switch kind {
	case overSSH:
		return w.ssh(ctx, c, capture...)
	case overTCP:
		far := net.JoinHostPort("10.78.0.2", strconv.Itoa(w.port()))
		p, err := w.start("answer", w.lab.Cloud.CommandAs(ctx, w.lab.User(lab.Dev), w.self, append([]string{"answer", far}, capture...)...))
		if err != nil {
			return nil, err
		}
		carrier, err := w.carrier(ctx, c, "tcp", far)
		return []string{w.self, "pipe", carrier}, errors.Join(err, w.says(ctx, p, "listening"))
	}
	return nil, fmt.Errorf("there is no link %q", kind)
}

// resources returns settings with the server as a resource. Its host is a name, or an
// address, which needs a TUN device.
func resources(host string) string {
	return fmt.Sprintf(`[{"name": "bench", "host": %q, "ports": [%d]}]`, host, serverPort)
}

// ways returns the ways to the server in a session whose resource is host.
func ways(host, proxy string) *way {
	v := &way{Target: at(host, serverPort)}
	socks, http := v.Target, v.Target
	socks.Via, socks.Proxy = "socks5", proxy
	http.Via, http.Proxy = "http", proxy
	v.socks, v.http = &socks, &http
	return v
}

// causewayExec is a session of `causeway connect` over a kind of link.
func causewayExec(kind string) tool {
	return tool{"Causeway over " + kind, func(ctx context.Context, w *world, c condition) (*way, error) {
		link, err := w.link(ctx, c, kind)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(w.dir, "resources.json")
		if err := os.WriteFile(file, []byte(resources(serverName)), 0o600); err != nil {
			return nil, err
		}
		args := append([]string{"connect", "--resources", file, "--events=json", "--"}, link...)
		cmd := w.lab.Laptop.Command(ctx, w.helper, args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		p, err := w.start("connect", cmd)
		if err != nil {
			return nil, err
		}
		var connected struct{ Event, Proxy string }
		events := bufio.NewReader(out)
		line, err := events.ReadBytes('\n')
		if err != nil {
			<-p.done
			return nil, p.failed(err)
		}
		if err := json.Unmarshal(line, &connected); err != nil || connected.Event != "connected" {
			return nil, fmt.Errorf("connect says %q", line)
		}
		go func() {
			for _, err := events.ReadBytes('\n'); err == nil; _, err = events.ReadBytes('\n') {
			}
		}()
		v := ways(serverName, connected.Proxy)
		v.processes = []*process{p}
		v.stop = func() {
			_ = p.cmd.Process.Signal(syscall.SIGINT)
			w.ends(p)
		}
		return v, nil
	}}
}

// tier is the way by which programs on cloud enter a session.
type tier int

const (
	best       tier = iota // Causeway's choice: the TUN device
	byLoopback             // names without a TUN device
	byProxy                // SOCKS5
	byRun                  // causeway run
)

func (t tier) sources() string {
	if t == byRun || t == byLoopback {
		return `{"tun": "off"}`
	}
	return ""
}

// causeway is a session as in a desktop's editor. This program plays the extensions.
// The direct links are unencrypted TCP through a port that netfilter forwards,
// since the channel of an editor is encrypted already.
func causeway(name, host string, kind tier) tool {
	return tool{name, func(ctx context.Context, w *world, c condition) (*way, error) {
		home, err := os.MkdirTemp(w.dir, "home")
		if err != nil {
			return nil, err
		}
		gateway := w.lab.Laptop.Command(ctx, w.helper, "gateway", "--stdio")
		gateway.Env = append(os.Environ(), "HOME="+home)
		capture := w.lab.Cloud.CommandAs(ctx, w.lab.User(lab.Dev), w.helper, "capture", "--stdio")
		var ends [2]*shim.Helper
		for i, cmd := range []*exec.Cmd{gateway, capture} {
			if ends[i], err = shim.Start(ctx, cmd); err != nil {
				return nil, err
			}
		}
		starting, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		s, err := shim.Open(starting, ends[0], ends[1], shim.Settings{Resources: resources(host), Sources: kind.sources()})
		if err != nil {
			return nil, errors.Join(err, ends[0].Close(), ends[1].Close())
		}
		v := &way{stop: func() { _ = s.Close() }}
		port, err := s.Listen(starting)
		if err != nil {
			return v, err
		}
		near, err := w.forward(starting, ctx, c, port)
		if err != nil {
			return v, err
		}
		if err := s.Dial(starting, near); err != nil {
			return v, err
		}
		if err := s.Reach(starting, func(_, link string) bool { return link == "direct" }); err != nil {
			return v, err
		}
		status, err := s.Status(starting)
		ready := ways(host, status.Proxy)
		ready.stop = v.stop
		switch kind {
		case byProxy:
			ready.Target = load.Target{}
		case byRun:
			ready.under = []string{w.helper, "run", "--"}
			ready.socks, ready.http = nil, nil // these are measured without run
		}
		return ready, err
	}}
}

// earlier returns the same tool with the helper of -before.
func earlier(t tool) tool {
	return tool{t.name + ", before", func(ctx context.Context, w *world, c condition) (*way, error) {
		before := *w
		before.helper = w.before
		return t.start(ctx, &before, c)
	}}
}

// forward forwards a port of laptop's loopback to a port of cloud's over the path of
// c, and returns the port on laptop.
func (w *world) forward(ctx, life context.Context, c condition, port int) (near int, err error) {
	between := net.JoinHostPort("10.78.0.2", strconv.Itoa(w.port()))
	arrive := fmt.Sprintf("chain in { type nat hook prerouting priority -100; ip daddr %s tcp dport %d dnat to 127.0.0.1:%d; }",
		"10.78.0.2", *w.ports, port)
	if err := w.nat(ctx, w.lab.Cloud, arrive); err != nil {
		return 0, err
	}
	if c.path != (wan.Path{}) {
		carrier, err := w.carrier(life, c, "tcp", between)
		if err != nil {
			return 0, err
		}
		between = carrier
	}
	near = w.port()
	leave := fmt.Sprintf(`chain out { type nat hook output priority -100; ip daddr 127.0.0.1 tcp dport %d dnat to %s; }
		chain post { type nat hook postrouting priority 100; ip saddr 127.0.0.1 ip daddr 10.78.0.0/24 masquerade; }`, near, between)
	return near, w.nat(ctx, w.lab.Laptop, leave)
}

// nat replaces the benchmark's chains of a host by these.
func (w *world) nat(ctx context.Context, h *lab.Host, chains string) error {
	const table = "table ip causeway-bench"
	script := table + "\ndelete " + table + "\n" + table + " {\n" + chains + "\n}\n"
	return errors.Join(
		w.do(ctx, h, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"),
		w.do(ctx, h, "nft", script),
	)
}
