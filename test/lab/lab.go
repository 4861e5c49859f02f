//go:build linux

// Package lab starts the hosts on which tests and the demo run Causeway: real
// programs in network namespaces of one machine.
//
//	internet ── cloud ── laptop ── corp
//
// corp is the private network with its services. laptop reaches corp and cloud but
// forwards nothing between them; the gateway and the browser run there. cloud is
// the remote environment: it has a route to laptop and to internet, but none to
// corp. internet stands for everything that is not private.
//
// A lab needs root and the programs of the group "lab" in scripts/programs.txt.
// Every lab has its own names, so several can run side by side.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The services that Options.Services may name.
const (
	Postgres = "postgres" // a database in corp
	NPM      = "npm"      // a package registry in corp
	Web      = "web"      // HTTP, HTTPS and WebSocket in corp
	Git      = "git"      // a repository behind sshd in corp
	Echo     = "echo"     // well-behaved and misbehaving TCP and UDP services in corp
	NTP      = "ntp"      // chronyd in corp
	SSH      = "ssh"      // sshd in cloud
)

// AllServices lists every service, in no particular order.
func AllServices() []string { return []string{Postgres, NPM, Web, Git, Echo, NTP, SSH} }

// Options configures a lab. The zero value has every service and no editor.
type Options struct {
	// Dir is the directory for lab.json, logs and the services' data. Every user
	// must be able to enter it, so it cannot be below a private home. Close removes
	// everything of the lab except the logs. Empty means a temporary directory,
	// which Close removes.
	Dir string
	// Services limits what runs; nil means AllServices. DNS and the public web
	// server always run.
	Services []string
	// Loopback starts a lab without root, on 127.0.0.1 and free ports. All hosts
	// are this machine, no name resolves, and nothing separates cloud from corp.
	// Only postgres, npm, web and echo run there.
	Loopback bool
	// Editor, if not nil, adds VS Code to cloud.
	Editor *EditorOptions
	// Wrap names programs, by absolute path, for which Dir/bin gets a script
	// HOST-BASENAME that runs them on that host; the key is the host's name.
	Wrap map[string][]string
	// Publish lists ports of laptop's 127.0.0.1 that this machine's 127.0.0.1
	// shows too, for a person's own browser.
	Publish []int
	// Root is the top of Causeway's tree. test/e2e below it has the editor and the
	// registry. Empty means the tree of the working directory.
	Root string
	// Log receives a line for each step; nil discards the lines.
	Log io.Writer
}

// Lab is a lab that is up until Close.
type Lab struct {
	Corp, Laptop, Cloud, Internet *Host

	// DNS is corp's nameserver. Only laptop asks it.
	DNS *DNS
	// EditorRelay is the editor's connection from laptop to cloud; nil without an editor.
	EditorRelay *Relay

	id    string
	dir   string
	opts  Options
	tools tools
	ca    *authority
	log   io.Writer

	halfClosed halfClosed
	ssh        sshFiles

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc

	mu      sync.Mutex
	placed  map[int]bool // the ports that place has given
	info    Info
	undo    []func() error
	closing sync.Once
	closed  error
}

// Up starts a lab and returns when everything in it answers. ctx bounds only the
// start. After an error Up leaves nothing behind.
func Up(ctx context.Context, opts Options) (*Lab, error) {
	known := AllServices()
	if opts.Loopback {
		known = []string{Postgres, NPM, Web, Echo}
	} else if os.Geteuid() != 0 {
		return nil, errors.New("raise lab: network namespaces take root")
	}
	if opts.Services == nil {
		opts.Services = known
	}
	for _, s := range opts.Services {
		if !slices.Contains(known, s) {
			return nil, fmt.Errorf("raise lab: there is no service %q", s)
		}
	}
	l := &Lab{opts: opts, log: opts.Log, halfClosed: halfClosed{sums: map[string]string{}}}
	if l.log == nil {
		l.log = io.Discard
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if err := l.up(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("raise lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context) error {
	start := time.Now()
	if !l.opts.Loopback {
		if err := Cleanup(); err != nil {
			return err
		}
	}
	var err error
	if l.tools, err = findTools(l.opts); err != nil {
		return err
	}
	if err := l.claim(); err != nil {
		return err
	}
	if l.ca, err = newAuthority(filepath.Join(l.dir, "ca.pem")); err != nil {
		return err
	}
	l.info.CAFile = filepath.Join(l.dir, "ca.pem")
	if err := l.makeUsers(ctx); err != nil {
		return err
	}
	if err := l.makeHosts(ctx); err != nil {
		return err
	}
	l.step(start, "hosts")

	raise := map[string]func(context.Context) error{
		Postgres: l.startPostgres, NPM: l.startNPM, Web: l.startWeb,
		Git: l.startGit, Echo: l.startEcho, NTP: l.startNTP, SSH: l.startCloudSSH,
	}
	group, gctx := errgroup.WithContext(ctx)
	run := func(name string, f func(context.Context) error) {
		group.Go(func() error {
			if err := f(gctx); err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
			l.step(start, name)
			return nil
		})
	}
	if !l.opts.Loopback {
		run("dns", l.startDNS)
		run("public", l.startPublic)
	}
	for _, s := range l.opts.Services {
		run(s, raise[s])
	}
	if l.opts.Editor != nil {
		run("editor", l.startEditor)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := l.publish(); err != nil {
		return err
	}
	return l.writeInfo()
}

// Dir returns the lab's directory.
func (l *Lab) Dir() string { return l.dir }

// Info returns the content of lab.json.
func (l *Lab) Info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// Close ends every process of every host, including those that tests started, and
// removes the hosts and their files. It is idempotent.
func (l *Lab) Close() error {
	l.closing.Do(func() {
		l.cancel()
		l.mu.Lock()
		undo := l.undo
		l.undo = nil
		l.mu.Unlock()
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		l.closed = errors.Join(errs...)
	})
	return l.closed
}

// onClose makes Close call f, before the functions that were added earlier.
func (l *Lab) onClose(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// setInfo changes the later content of lab.json.
func (l *Lab) setInfo(f func(*Info)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.info)
}

func (l *Lab) step(start time.Time, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.log, "lab %s: %s (%.1f s)\n", l.id, name, time.Since(start).Seconds())
}
