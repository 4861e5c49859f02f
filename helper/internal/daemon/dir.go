package daemon

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/causeway-dev/causeway/helper/internal/lockfile"
)

// DirVariable names the environment variable that replaces DefaultDir.
const DirVariable = "CAUSEWAY_RUNTIME_DIR"

// maxPath is how long the path of a Unix socket may be on every system, in bytes.
const maxPath = 100

func (o *Options) defaults() (err error) {
	if o.Idle == 0 {
		o.Idle = idleTime
	}
	if o.reap == 0 {
		o.reap = reapTime
	}
	if o.Dir == "" {
		if o.Dir, err = DefaultDir(); err != nil {
			return err
		}
	}
	if len(o.path(".sock")) > maxPath {
		return fmt.Errorf("the path %s is too long for a socket; set %s to a shorter one", o.Dir, DirVariable)
	}
	return nil
}

// complete fills in defaults and makes the directory.
func (o *Options) complete() error {
	if err := o.defaults(); err != nil {
		return err
	}
	var info fs.FileInfo
	for range 10 { // a helper that ends removes the directory
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return fmt.Errorf("make the helper's directory: %w", err)
		}
		var err error
		if info, err = os.Lstat(o.Dir); err == nil {
			break
		}
	}
	if info == nil {
		return fmt.Errorf("make the helper's directory: another process keeps removing %s", o.Dir)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", o.Dir)
	}
	return checkOwner(o.Dir, info)
}

// MakeDir returns DefaultDir. It makes the directory, and checks that only this
// user may enter it.
func MakeDir() (string, error) {
	o := Options{Role: "capture"}
	err := o.complete()
	return o.Dir, err
}

// DefaultDir returns the directory for the sockets of this user's helpers. Each
// network namespace of this machine has its own, since a helper serves one of
// them, and so has each machine that shares the home directory. The machine is known
// by its boot, not by its name, which may change.
func DefaultDir() (string, error) {
	if dir := os.Getenv(DirVariable); dir != "" {
		return dir, nil
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %s %d", bootID(), networkID(), os.Getuid())
	return chooseDir(bases(), fmt.Sprintf("run-%08x", h.Sum32()))
}

// chooseDir returns the first of the directories leaf in bases that a helper can
// use. That depends on the machine alone, so all processes find the same one.
func chooseDir(bases []string, leaf string) (string, error) {
	var failed error
	for _, base := range bases {
		dir := filepath.Join(base, leaf)
		if len(filepath.Join(dir, "gateway.sock")) > maxPath {
			continue
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil // a helper has made it
		}
		if failed = canLock(existing(base)); failed == nil {
			return dir, nil
		}
	}
	if failed != nil {
		return "", fmt.Errorf("there is no place for the helper's socket; set %s: %w", DirVariable, failed)
	}
	return "", errors.New("there is no place for the helper's socket; set " + DirVariable)
}

// canLock reports why no file in dir can be locked. Some network file systems have
// no locks, and a full quota allows no files.
func canLock(dir string) error {
	f, err := os.CreateTemp(dir, ".causeway-*")
	if err != nil {
		return err
	}
	_ = f.Close()
	l, err := lockfile.Try(f.Name())
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	l.Remove()
	return nil
}

// existing returns the longest part of a path that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
