package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/exit"
	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/rs/zerolog"
)

// exitSet keeps the exits of a session open while its resources name them.
type exitSet struct {
	log         zerolog.Logger
	names       dial.Resolver        // of peers and proxies; nil: the machine's own
	open        map[string]exit.Exit // by what resources name
	credentials atomic.Pointer[map[string]resource.Credentials]
}

// machine is what exits have of this machine.
type machine struct {
	names dial.Resolver
	*systemdns.Resolver
	credentials *atomic.Pointer[map[string]resource.Credentials]
}

// LookupNetIP implements exit.System.
func (m machine) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	return m.names.LookupNetIP(ctx, name)
}

// Credentials implements exit.System.
func (m machine) Credentials(proxy string) (c resource.Credentials, ok bool) {
	if known := m.credentials.Load(); known != nil {
		c, ok = (*known)[proxy]
	}
	return c, ok
}

// use returns the ways for what wanted describes, and those that were open.
func (x *exitSet) use(wanted map[string]resource.Exit) map[string]dial.Exit {
	if x.open == nil {
		x.open = map[string]exit.Exit{}
	}
	system := machine{names: x.names, Resolver: new(systemdns.Resolver), credentials: &x.credentials}
	if system.names == nil {
		system.names = dial.SystemResolver{}
	}
	for via, settings := range wanted {
		if x.open[via] == nil {
			x.open[via] = exit.New(settings, system, x.log)
		}
	}
	ways := make(map[string]dial.Exit, len(x.open))
	for via, way := range x.open {
		ways[via] = way
	}
	return ways
}

// keep closes all but what wanted describes.
func (x *exitSet) keep(wanted map[string]resource.Exit) {
	for via, way := range x.open {
		if _, ok := wanted[via]; !ok {
			_ = way.Close()
			delete(x.open, via)
		}
	}
}

// byWay lets a resource say where its exit leads, and notes that in wanted. It
// says what is wrong if named, which is in place, does not have that exit or it
// cannot do what the resource wants; "" if nothing.
func byWay(r *resource.Resource, named, wanted map[string]resource.Exit, place string) string {
	if r.Exit == "" {
		return ""
	}
	e, ok := named[r.Exit]
	switch {
	case !ok:
		return fmt.Sprintf("%q names the exit %q, which %s does not have", r.Name, r.Exit, place)
	case r.Resolve == resource.ByExit && e.Type != resource.Proxy:
		return fmt.Sprintf("%q has \"resolve\": \"exit\", which is for exits of type proxy: a WireGuard profile resolves by its own DNS anyway", r.Name)
	}
	r.Exit = e.Via(r.Exit)
	wanted[r.Exit] = e
	return ""
}

// parseExits reads the exits in file, "" for none.
func parseExits(e *env, file string) (map[string]resource.Exit, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError(err)
	}
	named, problems := resource.ParseExits("", text)
	base, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	problems = append(problems, resource.Absolute("", named, base)...)
	return named, reportProblems(e, file, problems)
}

// readExits reads the exits in file, "" for none, and lets the approved resources
// say where theirs lead.
func readExits(e *env, file string, approved []resource.Approved) (wanted map[string]resource.Exit, err error) {
	named, err := parseExits(e, file)
	if err != nil {
		return nil, err
	}
	wanted = map[string]resource.Exit{}
	for i := range approved {
		r := &approved[i].Resource
		if trouble := byWay(r, named, wanted, "--exits"); trouble != "" {
			return nil, usageError(errors.New("resource " + trouble))
		}
	}
	return wanted, nil
}

// readCredentials reads the credentials of proxies in file, "" for none, which
// nobody else may read.
func readCredentials(e *env, file string) (map[string]resource.Credentials, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, usageError(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, usageError(fmt.Errorf("%s holds passwords and has mode %04o: make it 0600, so that you alone can read it", file, mode))
	}
	text, err := io.ReadAll(io.LimitReader(f, resource.MaxInput+1))
	if err != nil {
		return nil, usageError(err)
	}
	known, problems := resource.ParseCredentials("", text)
	return known, reportProblems(e, file, problems)
}

// captureByExit is both roles on one machine: what the resources in list name is
// reached by the WireGuard profile, and there is no developer's machine.
func captureByExit(ctx context.Context, e *env, profile, list string, c connection) error {
	approved, err := readResources(e, list)
	if err != nil {
		return err
	}
	if _, err := os.Stat(profile); err != nil {
		return usageError(err)
	}
	only := resource.Exit{Type: resource.WireGuard, File: profile}
	via := only.Via("exit")
	for i := range approved {
		if named := approved[i].Resource.Exit; named != "" {
			return usageError(fmt.Errorf("resource %q names the exit %q, but --exit is the only one there is", approved[i].Resource.Name, named))
		}
		approved[i].Resource.Exit = via
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.e, c.log, c.resume, c.exits = e, e.logs.logger("gateway"), carrier.DefaultResumeLimit, map[string]resource.Exit{via: only}
	c.peers = besideCapture{}
	c.command = []string{self, "capture", "--stdio", "--log-level", e.logs.level}
	return c.run(ctx, approved)
}

// besideCapture finds names as this machine does while no capture is on it: the
// way to a peer must not lead through the peer, whose domain may have its name.
type besideCapture struct{}

// LookupNetIP implements dial.Resolver.
func (besideCapture) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	listed, _ := systemdns.Listed(ctx, name)
	if listed = slices.DeleteFunc(listed, hostnet.IsGiven); len(listed) > 0 {
		return listed, nil
	}
	content, err := os.ReadFile(hostnet.DefaultResolvPath)
	if err != nil {
		return nil, err
	}
	var servers systemdns.Servers
	_, before := hostnet.Nameservers(content, netip.Addr{})
	for _, a := range before {
		servers.At = append(servers.At, netip.AddrPortFrom(a, 53).String())
	}
	return systemdns.Addresses(ctx, servers, name)
}

// reportProblems prints every mistake in a file, and is an error if there is one.
func reportProblems(e *env, file string, problems []resource.Problem) error {
	for _, p := range problems {
		_, _ = fmt.Fprintf(e.stderr, "%s:%d:%d: %s: %s\n", file, p.Line, p.Column, p.Path, p.Message)
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return usageError(fmt.Errorf("1 mistake in %s", file))
	}
	return usageError(fmt.Errorf("%d mistakes in %s", len(problems), file))
}
