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

// maxPath is what fits into a socket's address everywhere.
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

// complete fills in defaults and sees to the directory.
func (o *Options) complete() error {
	if err := o.defaults(); err != nil {
		return err
	}
	var info fs.FileInfo
	for range 10 { // a helper that ends takes the directory with it
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return fmt.Errorf("make the helper's directory: %w", err)
		}
		var err error
		if info, err = os.Lstat(o.Dir); err == nil {
			break
		}
	}
	if info == nil {
		return fmt.Errorf("%s does not stay", o.Dir)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", o.Dir)
	}
	return checkOwner(o.Dir, info)
}

// MakeDir returns DefaultDir, which is there and this user's alone afterwards.
func MakeDir() (string, error) {
	o := Options{Role: "capture"}
	err := o.complete()
	return o.Dir, err
}

// DefaultDir is where the sockets of this user's helpers are: in a place of the
// user's, apart for every network that this machine has, since that is what a
// helper serves, and for every machine that has the same home directory.
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
