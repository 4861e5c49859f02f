package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfigDir(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, home)
	}
	if c := checkConfigDir(); !c.OK || !strings.Contains(c.Detail, "does not exist yet") {
		t.Errorf("without the folder: %+v", c)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "causeway")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if c := checkConfigDir(); !c.OK || c.Detail != dir {
		t.Errorf("with the folder: %+v", c)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if c := checkConfigDir(); runtime.GOOS != "windows" && (c.OK || c.Hint != "chmod 700 "+dir) {
		t.Errorf("open to others: %+v", c)
	}
}

func TestExit(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.conf")
	c := Exit("office", resource.Exit{Type: resource.WireGuard, File: missing})
	if c.OK || c.Name != "exit office" || !strings.Contains(c.Detail, "none.conf") || c.Hint == "" {
		t.Errorf("a profile that is missing: %+v", c)
	}
}

// The checks that need no privilege pass where the tests run.
func TestLocalChecks(t *testing.T) {
	if c := checkLoopback(t.Context()); runtime.GOOS == "linux" && !c.OK {
		t.Errorf("%+v", c)
	}
	if c := checkOwner(t.Context()); runtime.GOOS == "linux" && !c.OK {
		t.Errorf("%+v", c)
	}
	for _, c := range []Check{checkLoopback(t.Context()), checkOwner(t.Context())} {
		if c.Side != "capture" || c.Name == "" || c.Detail == "" || !c.OK && c.Hint == "" {
			t.Errorf("%+v", c)
		}
	}
}

// The check of causeway run reports what a trial says.
func TestRun(t *testing.T) {
	if c := checkRun(t.Context(), func(context.Context) error { return nil }); !c.OK || c.Hint != "" {
		t.Errorf("%+v", c)
	}
	c := checkRun(t.Context(), func(context.Context) error { return errors.New("the runtime forbids it") })
	if c.OK || c.Detail != "the runtime forbids it" || c.Hint == "" {
		t.Errorf("%+v", c)
	}
}

func TestReadOnly(t *testing.T) {
	if !isReadOnly(fmt.Errorf("edit /etc/hosts: %w", syscall.EROFS)) || isReadOnly(os.ErrPermission) {
		t.Error("a read-only file system is not told from a lack of rights")
	}
}
