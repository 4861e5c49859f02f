package cli

import (
	"fmt"
	"os"
	"path/filepath"

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
