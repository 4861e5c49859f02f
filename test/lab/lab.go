//go:build linux

// Package lab raises the hosts that Causeway is shown on: real programs in
// network namespaces of one machine.
//
//	internet ── cloud ── laptop ── corp
//
// corp is the private network with its services. laptop reaches corp and cloud
// and forwards nothing between them; the gateway and the browser belong there.
// cloud is the remote environment: it has a route to laptop and to internet and
// none to corp. internet stands for everything that is not private.
//
// Raising a lab takes root and the programs that scripts/lib/install.sh
// installs. Labs have names of their own, so that several run side by side.
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
	Echo     = "echo"     // TCP and UDP services of good and bad manners in corp
	NTP      = "ntp"      // chronyd in corp
	SSH      = "ssh"      // sshd in cloud
)

// AllServices lists every service, in no particular order.
func AllServices() []string { return []string{Postgres, NPM, Web, Git, Echo, NTP, SSH} }

// Options says what to raise. The zero value raises every service and no editor.
type Options struct {
	// Dir receives lab.json, logs and the services' data. It must be reachable
	// by every user, so not below a private home. Close removes what the lab put
	// there, except for the logs. Empty means a temporary directory, of which
	// Close leaves nothing.
	Dir string
	// Services limits what runs; nil means AllServices. DNS and the public web
	// server always run.
	Services []string
	// Loopback raises a lab without root, on 127.0.0.1 and free ports, and without
	// what a lab is for: all hosts are this machine, no name resolves, and nothing
	// keeps cloud from corp. Only postgres, npm, web and echo run there.
	Loopback bool
	// Editor, if not nil, adds VS Code to cloud.
	Editor *EditorOptions
	// Wrap names programs, by absolute path, for which Dir/bin gets a script
	// HOST-BASENAME that runs them on that host; the key is the host's name.
	Wrap map[string][]string
	// Publish lists ports of laptop's 127.0.0.1 that this machine's 127.0.0.1
	// shows too, for a person's own browser.
	Publish []int
	// Root is the top of Causeway's tree, below which test/e2e has the editor and
	// the registry; empty means the one that the working directory is in.
	Root string
	// Log receives a line for every step; nil discards them.
	Log io.Writer
}

// Lab is a raised lab. It is used until Close.
type Lab struct {
	Corp, Laptop, Cloud, Internet *Host

	// DNS is corp's name server, asked by laptop alone.
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

// Up raises a lab and returns when everything in it answers. ctx bounds the
// raising only. After an error nothing is left behind.
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

// Info returns what lab.json holds.
func (l *Lab) Info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// Close ends every process of every host, also those that tests started there,
// and removes the hosts and their files. It is idempotent.
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

// onClose adds f to what Close does, before all that was added earlier.
func (l *Lab) onClose(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// setInfo changes what lab.json will hold.
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
