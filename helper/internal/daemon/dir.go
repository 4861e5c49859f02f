package daemon

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
)

// DirVariable names the environment variable that replaces DefaultDir.
const DirVariable = "CAUSEWAY_RUNTIME_DIR"

// maxPath is how long the path of a Unix socket may be on every system, in bytes.
const maxPath = 100

func (o *Options) defaults() (err error) {
	if o.Idle == 0 {
		o.Idle = idleTime
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
// them, and so has each machine that shares the home directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv(DirVariable); dir != "" {
		return dir, nil
	}
	name, _ := os.Hostname()
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %s %d", name, networkID(), os.Getuid())
	leaf := fmt.Sprintf("run-%08x", h.Sum32())
	for _, base := range bases() {
		if dir := filepath.Join(base, leaf); len(filepath.Join(dir, "gateway.sock")) <= maxPath {
			return dir, nil
		}
	}
	return "", errors.New("there is no place for the helper's socket; set " + DirVariable)
}
