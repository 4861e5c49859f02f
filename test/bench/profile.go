//go:build linux

package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed profile.go.txt
var profileSource string

// profiler makes the helpers write profiles. It adds a file to them when they are
// built. A nil profiler does nothing.
type profiler struct {
	w   *world
	raw string // where helpers of any user write
	dir string // where the profiles go
}

func newProfiler(w *world, dir string) (*profiler, error) {
	p := &profiler{w, filepath.Join(w.dir, "profiles"), dir}
	if err := errors.Join(os.Mkdir(p.raw, 0o777), os.Chmod(p.raw, 0o777), os.MkdirAll(dir, 0o755)); err != nil {
		return nil, fmt.Errorf("prepare for profiles: %w", err)
	}
	return p, nil
}

// overlay returns the flag of go build that adds the profiler's file to the helper
// of root.
func (p *profiler) overlay(root string) (string, error) {
	source, overlay := filepath.Join(p.w.dir, "profile.go"), filepath.Join(p.w.dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "helper", "profile_bench.go"): source}})
	if err != nil {
		return "", err
	}
	return "-overlay=" + overlay, errors.Join(
		os.WriteFile(source, []byte(strings.ReplaceAll(profileSource, "PROFILES", p.raw)), 0o644),
		os.WriteFile(overlay, text, 0o644),
	)
}

// begin starts profiling the running helpers. It returns a function that ends the
// profiles and stores them under a name.
func (p *profiler) begin() (end func(name string)) {
	if p == nil {
		return func(string) {}
	}
	var pids []int
	for _, dir := range append(p.w.programs(p.w.lab.Cloud), p.w.programs(p.w.lab.Laptop)...) {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if exe, _ := os.Readlink(dir + "/exe"); err == nil && exe == p.w.helper {
			pids = append(pids, pid)
			_ = syscall.Kill(pid, syscall.SIGUSR1)
		}
	}
	return func(name string) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGUSR1)
		}
		for _, pid := range pids {
			p.keep(pid, name)
		}
	}
}

func (p *profiler) keep(pid int, name string) {
	done := filepath.Join(p.raw, "*."+strconv.Itoa(pid)+".cpu")
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if found, _ := filepath.Glob(done); len(found) > 0 {
			break
		}
	}
	files, _ := filepath.Glob(filepath.Join(p.raw, "*."+strconv.Itoa(pid)+".*"))
	for _, f := range files {
		parts := strings.Split(filepath.Base(f), ".") // role, pid, kind
		text, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.dir, name+"-"+parts[0]+"."+parts[len(parts)-1]+".pprof"), text, 0o644)
		}
		if err = errors.Join(err, os.Remove(f)); err != nil {
			fmt.Fprintf(p.w.log, " keep profile: %v", err)
		}
	}
}
