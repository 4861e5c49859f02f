package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/gateway/exit"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/rs/zerolog"
)

// exitSet keeps the exits of a session open while its resources name them.
type exitSet struct {
	log  zerolog.Logger
	open map[string]exit.Exit // by what resources name
}

// use returns the ways for what wanted describes, and those that were open.
func (x *exitSet) use(wanted map[string]resource.Exit) map[string]gateway.Exit {
	if x.open == nil {
		x.open = map[string]exit.Exit{}
	}
	for via, settings := range wanted {
		if x.open[via] == nil {
			x.open[via] = exit.New(settings, gateway.SystemResolver{}, x.log)
		}
	}
	ways := make(map[string]gateway.Exit, len(x.open))
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
// reports an exit that named does not have.
func byWay(r *resource.Resource, named, wanted map[string]resource.Exit) bool {
	if r.Exit == "" {
		return true
	}
	e, ok := named[r.Exit]
	if ok {
		r.Exit = e.Via(r.Exit)
		wanted[r.Exit] = e
	}
	return ok
}

// readExits reads the exits in file, "" for none, and lets the approved resources
// say where theirs lead.
func readExits(e *env, file string, approved []gateway.Approved) (wanted map[string]resource.Exit, err error) {
	named := map[string]resource.Exit{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, usageError(err)
		}
		var problems []resource.Problem
		named, problems = resource.ParseExits("", text)
		base, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		problems = append(problems, resource.Absolute("", named, base)...)
		if err := reportProblems(e, file, problems); err != nil {
			return nil, err
		}
	}
	wanted = map[string]resource.Exit{}
	for i := range approved {
		r := &approved[i].Resource
		if !byWay(r, named, wanted) {
			return nil, usageError(fmt.Errorf("resource %q names the exit %q, which --exits does not have", r.Name, r.Exit))
		}
	}
	return wanted, nil
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
	c.command = []string{self, "capture", "--stdio", "--log-level", e.logs.level}
	return c.run(ctx, approved)
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
