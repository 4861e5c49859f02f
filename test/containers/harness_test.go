//go:build linux

// Package containers runs Causeway in containers of real engines, which run on
// cloud of the lab. Every engine keeps its defaults: nothing is privileged unless a
// test says so. The tests write docs/tried-on.md; see package tried.
package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

var (
	world  *lab.Lab
	helper string // the helper, built as it is shipped
	docker *engine
	podman *engine
	// whole says that everything is to be tried, not a selection.
	whole = os.Getenv("CAUSEWAY_SOAK") != ""
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	if world, err = lab.Up(ctx, lab.Options{Log: os.Stderr, Services: []string{lab.Web, lab.Echo}}); err != nil {
		return fail("raise lab", err)
	}
	defer func() { _ = world.Close() }()
	helper = filepath.Join(world.Dir(), "causeway")
	build := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", helper, "../../helper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fail("build helper", fmt.Errorf("%w: %s", err, out))
	}
	p, err := enter(filepath.Join(world.Dir(), "engines"))
	if err != nil {
		return fail("make place", err)
	}
	if docker, podman, err = p.engines(ctx); err != nil {
		return fail("start engines", errors.Join(err, p.leave()))
	}
	code := m.Run()
	if err := p.leave(); err != nil {
		return fail("stop engines", err)
	}
	return code
}
