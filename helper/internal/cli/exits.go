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
)

// readExits reads the file of exits that a user named, "" for none, and wants
// every exit in it that the resources name. The exits end with closeAll.
func readExits(e *env, file string, approved []gateway.Approved) (exits map[string]gateway.Exit, closeAll func(), err error) {
	named := map[string]resource.Exit{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, usageError(err)
		}
		var problems []resource.Problem
		named, problems = resource.ParseExits("", text)
		if err := reportProblems(e, file, problems); err != nil {
			return nil, nil, err
		}
	}
	for _, a := range approved {
		if _, ok := named[a.Resource.Exit]; a.Resource.Exit != "" && !ok {
			return nil, nil, usageError(fmt.Errorf("resource %q names the exit %q, which --exits does not have", a.Resource.Name, a.Resource.Exit))
		}
	}
	exits = map[string]gateway.Exit{}
	var all []exit.Exit
	for name, settings := range named {
		if settings.File != "" && !filepath.IsAbs(settings.File) {
			settings.File = filepath.Join(filepath.Dir(file), settings.File)
		}
		way := exit.New(settings, gateway.SystemResolver{}, e.logs.logger("exit"))
		exits[name] = way
		all = append(all, way)
	}
	return exits, func() {
		for _, way := range all {
			_ = way.Close()
		}
	}, nil
}

// soleExit is the name of the exit that capture --exit has.
const soleExit = "exit"

// captureByExit is both roles on one machine: what the resources in list name is
// reached by the WireGuard profile, and there is no developer's machine.
func captureByExit(ctx context.Context, e *env, profile, list string, json bool) error {
	approved, err := readResources(e, list)
	if err != nil {
		return err
	}
	for i := range approved {
		if named := approved[i].Resource.Exit; named != "" {
			return usageError(fmt.Errorf("resource %q names the exit %q, but --exit is the only one there is", approved[i].Resource.Name, named))
		}
		approved[i].Resource.Exit = soleExit
	}
	if _, err := os.Stat(profile); err != nil {
		return usageError(err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	way := exit.New(resource.Exit{Type: resource.WireGuard, File: profile}, gateway.SystemResolver{}, e.logs.logger("exit"))
	defer func() { _ = way.Close() }()
	c := connection{e: e, log: e.logs.logger("gateway"), json: json, resume: carrier.DefaultResumeLimit,
		command: []string{self, "capture", "--stdio", "--log-level", e.logs.level}, exits: map[string]gateway.Exit{soleExit: way}}
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
