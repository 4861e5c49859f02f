//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

const (
	serverPort  = 5001
	serverName  = "echo.corp.test" // host of Causeway's resource
	serverAddr  = "10.77.0.14"     // its address, to which cloud has no route
	laptopCloud = "10.78.0.1"      // laptop's address for cloud
)

// world is the lab and the programs that every measurement needs.
type world struct {
	lab    *lab.Lab
	self   string // this program, in a place where every user can run it
	carry  string // the same under another name; its processes count as a tool's
	helper string // the helper, built as for a release
	before string // another build of it, to compare with; "" if there is none
	dir    string
	log    io.Writer

	profiler *profiler // nil unless profiles are requested

	ports *int // the last one given out, on laptop
}

func raise(ctx context.Context, o options) (*world, error) {
	l, err := lab.Up(ctx, lab.Options{Services: []string{lab.SSH, lab.Postgres}, Root: o.root, Log: o.progress})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, dir: filepath.Join(l.Dir(), "bench"), log: o.progress, ports: new(int)}
	*w.ports = 20000
	if err := w.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return w, nil
}

func (w *world) prepare(ctx context.Context, o options) error {
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return err
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	w.self, w.helper = filepath.Join(w.dir, "bench"), filepath.Join(w.dir, "causeway")
	if err := os.WriteFile(w.self, exe, 0o755); err != nil {
		return err
	}
	w.carry = filepath.Join(w.dir, "carry")
	if err := os.Link(w.self, w.carry); err != nil {
		return err
	}
	if o.profiles != "" {
		if w.profiler, err = newProfiler(w, o.profiles); err != nil {
			return err
		}
	}
	if err := o.build(ctx, w.helper, w.profiler); err != nil {
		return err
	}
	if o.before != "" {
		w.before = filepath.Join(w.dir, "causeway-before")
		if err := copyProgram(o.before, w.before); err != nil {
			return err
		}
	}
	// Some rivals need laptop to be a router. Causeway gets no route.
	l := w.lab
	if err := errors.Join(
		w.do(ctx, l.Laptop, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"),
		w.do(ctx, l.Laptop, "ip", "route", "add", "10.77.20.0/24", "via", l.Corp.Addr.String()),
		w.do(ctx, l.Corp, "ip", "route", "add", "10.78.0.0/15", "via", l.Laptop.Addr.String()),
	); err != nil {
		return err
	}
	if _, err := w.start("server", w.lab.Corp.Command(ctx, w.self, "serve", net.JoinHostPort("", strconv.Itoa(serverPort)))); err != nil {
		return err
	}
	return w.run(ctx, w.lab.Corp, job{Target: at(serverAddr, serverPort), What: "probe", Span: 5 * time.Second}, nil)
}

// way gives the server an additional address, which only one tool uses.
func (w *world) way(ctx context.Context, last int) (string, error) {
	addr := fmt.Sprintf("10.77.20.%d", last)
	return addr, w.do(ctx, w.lab.Corp, "ip", "addr", "replace", addr+"/32", "dev", "lo")
}

// do runs a command on a host to its end.
func (w *world) do(ctx context.Context, h *lab.Host, argv ...string) error {
	if out, err := h.Command(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// port returns an unused port.
func (w *world) port() int {
	*w.ports++
	return *w.ports
}

// process is a program that runs until it is stopped or its context ends.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs c with its output in a log file.
func (w *world) start(name string, c *exec.Cmd) (*process, error) {
	p := &process{name: name, log: filepath.Join(w.dir, name+"-"+strconv.Itoa(w.port())+".log"), cmd: c, done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if c.Stdout == nil {
		c.Stdout = log
	}
	c.Stderr = log
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.Wait() // its log says how it ended
		close(p.done)
	}()
	return p, nil
}

// says waits until p has written text.
func (w *world) says(ctx context.Context, p *process, text string) error {
	return p.wait(ctx, func() bool {
		said, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(said), text)
	})
}

// wait waits until ready returns true. It polls, since no event tells.
func (p *process) wait(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not ready within 20 s"))
	defer cancel()
	for !ready() {
		select {
		case <-p.done:
			return p.failed(errors.New("ended"))
		case <-ctx.Done():
			return p.failed(context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// ends waits at most 10 s until p has ended by itself.
func (w *world) ends(p *process) {
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
	}
}

// failed wraps err with the end of the log.
func (p *process) failed(err error) error {
	text, _ := os.ReadFile(p.log)
	if len(text) > 500 {
		text = text[len(text)-500:]
	}
	return fmt.Errorf("%s: %w: %s", p.name, err, strings.Join(strings.Fields(string(text)), " "))
}

// run runs a client on a host, as the developer's user.
func (w *world) run(ctx context.Context, h *lab.Host, j job, r *result) error {
	ctx, cancel := context.WithTimeout(ctx, j.Span+j.Warm+60*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := w.client(ctx, h, j)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", j.What, err, strings.TrimSpace(stderr.String()))
	}
	if r == nil {
		return nil
	}
	return json.Unmarshal(stdout.Bytes(), r)
}

func (w *world) client(ctx context.Context, h *lab.Host, j job) *exec.Cmd {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err) // a struct of plain fields always marshals
	}
	line := append(slices.Clone(j.Under), w.self, "client", string(text))
	return h.CommandAs(ctx, w.lab.User(lab.Dev), line[0], line[1:]...)
}
