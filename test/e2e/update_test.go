//go:build linux

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/shim"
)

// TestUpdateTakesOver replaces the extension under open flows: its newer shims go
// on with the older helpers, of which the file is gone, and say so, for a window
// that opens meanwhile too. When the last session has ended, the newer helpers
// take their place at once, and nothing of the older ones is left.
func TestUpdateTakesOver(t *testing.T) {
	before := hostsFile(t)
	dir := filepath.Dir(helper)
	older, newer := filepath.Join(dir, "older"), filepath.Join(dir, "newer")
	for program, version := range map[string]string{older: "1.0.0", newer: "1.1.0"} {
		if err := buildHelper(program, version); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	home := t.TempDir()
	open := func(program, version, list string) *shim.Session {
		t.Helper()
		gateway, capture := startProgram(t, program, "gateway", home), startProgram(t, program, "capture", home)
		if gateway.Version != version || capture.Version != version {
			t.Errorf("served by %s and %s, want %s", gateway.Version, capture.Version, version)
		}
		s, err := shim.Open(ctx, gateway, capture, shim.Settings{Resources: list})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = s.Close()
			if t.Failed() {
				t.Logf("gateway:\n%s\ncapture:\n%s", s.Gateway.Log, s.Capture.Log)
			}
		})
		return s
	}
	list := `[{"name": "web", "host": "web.corp.test", "ports": [80]}, {"name": "echo", "host": "echo.corp.test", "ports": [7]}]`
	s := open(older, "1.0.0", list)
	c, err := world.Cloud.Dial(ctx, "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0]+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo := echoes(t, c)
	echo("before")

	clean := func() {
		t.Helper()
		eventually(t, 4*time.Second, "the remote is clean", func() bool { return hostsFile(t) == before })
	}

	if err := os.Remove(older); err != nil {
		t.Fatal(err)
	}
	s.Gateway.Kill()
	s.Capture.Kill()
	gateway, capture := startProgram(t, newer, "gateway", home), startProgram(t, newer, "capture", home)
	if err := errors.Join(s.Return(ctx, gateway), s.Join(ctx, capture, true), s.Link(ctx)); err != nil {
		t.Fatal(err)
	}
	echo("by the newer shims")
	for role, attached := range map[string]*shim.Helper{"gateway": gateway, "capture": capture} {
		if attached.Version != "1.0.0" || len(runningOf(newer, role, "--background")) > 0 {
			t.Errorf("the %s of version %s serves beside that of the session", role, attached.Version)
		}
		if log := attached.Log.String(); !strings.Contains(log, "helper of another version") || !strings.Contains(log, `"running":"1.0.0 `) {
			t.Errorf("the %s says nothing of the older version:\n%s", role, log)
		}
	}
	if status := mustCloud(t, 5*time.Second, newer+" status"); !strings.Contains(status, "version 1.0.0") {
		t.Errorf("status:\n%s", status)
	}
	window := open(newer, "1.0.0", `[{"name": "more", "host": "web.corp.test", "as": "more.corp.test", "ports": [80]}]`)
	mustCloud(t, 10*time.Second, "curl -sS -o /dev/null http://more.corp.test/ && curl -sS -o /dev/null http://web.corp.test/")
	if err := window.Close(); err != nil {
		t.Error(err)
	}
	echo("after the other window")

	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the flow of the ended session: %v, want a reset", err)
	}
	s = open(newer, "1.1.0", list) // at once: the older helpers have not ended by themselves
	mustCloud(t, 10*time.Second, "curl -sS -o /dev/null http://web.corp.test/")
	eventually(t, 5*time.Second, "the older helpers are gone", func() bool { return len(runningOf(older)) == 0 })
	if log := s.Gateway.Log.String() + s.Capture.Log.String(); strings.Contains(log, "another version") {
		t.Errorf("of another version:\n%s", log)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, 10*time.Second, "no helper is left", func() bool { return len(runningOf(newer)) == 0 })
	clean()
}
