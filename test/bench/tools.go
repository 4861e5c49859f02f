//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/test/bench/internal/load"
	"github.com/causeway-dev/causeway/test/wan"
)

// condition describes the path between laptop and cloud, and the server.
type condition struct {
	name   string
	path   wan.Path
	settle time.Duration // until windows have grown and Causeway has tried more links

	database bool // the server's port leads to PostgreSQL
}

// tool is a program that takes cloud to corp. Only one is up at a time.
type tool struct {
	name string
	// start starts it. Its processes end with ctx.
	start func(ctx context.Context, w *world, c condition) (*way, error)
}

// way is a tool that is up.
type way struct {
	load.Target              // for a plain connection
	socks, http *load.Target // for one through the tool's proxy; nil if it has none
	under       []string     // the command under which clients run; nil if they need none
	stop        func()       // ends it in order; nil if ending its processes is enough
	processes   []*process   // to wait for
}

func at(host string, port int) load.Target {
	return load.Target{Addr: net.JoinHostPort(host, strconv.Itoa(port))}
}

// carrier returns the address through which both hosts reach a TCP or UDP address of
// cloud or laptop over the path of c.
func (w *world) carrier(ctx context.Context, c condition, kind, to string) (string, error) {
	if c.path == (wan.Path{}) {
		return to, nil
	}
	addr := net.JoinHostPort(laptopCloud, strconv.Itoa(w.port()))
	p, err := w.start("relay", w.lab.Laptop.Command(ctx, w.self, "relay",
		"-delay", c.path.Delay.String(), "-rate", strconv.FormatInt(c.path.Rate, 10), "-inflight", strconv.Itoa(c.path.InFlight),
		kind+","+addr+","+to))
	if err != nil {
		return "", err
	}
	return addr, w.says(ctx, p, "listening")
}

// listens waits until a program on laptop or cloud accepts connections at addr.
func (w *world) listens(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := w.lab.Laptop.Dial(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", addr, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// up starts a tool and waits until cloud reaches the server through it.
func (w *world) up(ctx context.Context, t tool, c condition) (*way, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	if c.database {
		if err := w.lead(ctx, true); err != nil {
			cancel()
			return nil, nil, err
		}
	}
	others := w.running()
	v, err := t.start(ctx, w, c)
	down := func() {
		if c.database {
			_ = w.lead(context.WithoutCancel(ctx), false) // after an error the next probe fails
		}
		if v != nil && v.stop != nil {
			v.stop()
		}
		cancel()
		if v != nil {
			for _, p := range v.processes {
				<-p.done
			}
		}
		// A process that is still ending would count as the next tool's.
		for end := time.Now().Add(15 * time.Second); w.running() > others && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	}
	switch {
	case err != nil:
	case c.database:
		err = w.answers(ctx, v)
	default:
		err = w.run(ctx, w.lab.Cloud, job{Target: v.usual(), What: "probe", Span: 15 * time.Second, Under: v.under}, nil)
	}
	if err != nil && v != nil && len(v.processes) > 0 {
		err = v.processes[0].failed(err)
	}
	if err != nil {
		down()
		return nil, nil, err
	}
	return v, down, nil
}

var direct = tool{"kernel, direct", func(ctx context.Context, w *world, c condition) (*way, error) {
	if c.path != (wan.Path{}) {
		addr, err := w.carrier(ctx, c, "tcp+handshake", net.JoinHostPort(serverAddr, strconv.Itoa(serverPort)))
		return &way{Target: load.Target{Addr: addr}}, err
	}
	addr, err := w.way(ctx, wayDirect)
	if err != nil {
		return nil, err
	}
	err = w.do(ctx, w.lab.Cloud, "ip", "route", "replace", addr, "via", laptopCloud)
	return &way{Target: at(addr, serverPort)}, err
}}

// bare is only the link: one process at each end moves the bytes.
var bare = tool{"bare link", func(ctx context.Context, w *world, c condition) (*way, error) {
	far := net.JoinHostPort(laptopCloud, strconv.Itoa(w.port()))
	p1, err := w.start("carry", w.lab.Laptop.Command(ctx, w.carry, "carry", far, net.JoinHostPort(serverAddr, strconv.Itoa(serverPort))))
	if err != nil {
		return nil, err
	}
	if err := w.listens(ctx, far); err != nil {
		return nil, p1.failed(err)
	}
	carrier, err := w.carrier(ctx, c, "tcp", far)
	if err != nil {
		return nil, err
	}
	near := at("127.0.0.1", w.port())
	p2, err := w.start("carry", w.lab.Cloud.Command(ctx, w.carry, "carry", near.Addr, carrier))
	return &way{Target: near, processes: []*process{p1, p2}}, err
}}

// ssh returns the command line of an OpenSSH client on laptop for cloud's sshd.
func (w *world) ssh(ctx context.Context, c condition, args ...string) ([]string, error) {
	info := w.lab.Info().SSH
	carrier, err := w.carrier(ctx, c, "tcp", net.JoinHostPort(info.Address, strconv.Itoa(info.Port)))
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(carrier)
	if err != nil {
		return nil, err
	}
	argv := []string{
		"ssh", "-F", info.SSHConfig, "-o", "HostKeyAlias=" + info.Address, "-o", "ExitOnForwardFailure=yes",
		"-p", port, info.User + "@" + host,
	}
	return append(argv, args...), nil
}

func sshTool(name string, forward func(port int) string, target func(port int) *way) tool {
	return tool{name, func(ctx context.Context, w *world, c condition) (*way, error) {
		port := w.port()
		argv, err := w.ssh(ctx, c, "-N", "-R", forward(port))
		if err != nil {
			return nil, err
		}
		p, err := w.start("ssh", w.lab.Laptop.Command(ctx, argv[0], argv[1:]...))
		if err != nil {
			return nil, err
		}
		v := target(port)
		v.processes = []*process{p}
		v.stop = func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }
		return v, nil
	}}
}

// Both look the name up on laptop, as Causeway does.
var sshFixed = sshTool("OpenSSH -R, fixed port",
	func(port int) string { return fmt.Sprintf("127.0.0.1:%d:%s:%d", port, serverName, serverPort) },
	func(port int) *way { return &way{Target: at("127.0.0.1", port)} })

var sshSOCKS = sshTool("OpenSSH -R, SOCKS",
	func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) },
	func(port int) *way {
		t := at(serverName, serverPort)
		t.Via, t.Proxy = "socks5", at("127.0.0.1", port).Addr
		return &way{socks: &t}
	})
