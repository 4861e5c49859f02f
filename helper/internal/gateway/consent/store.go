package consent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/lockfile"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

const (
	storeVersion = 1
	maxStore     = 32 << 20 // bytes
	lockPatience = 5 * time.Second
)

// Path returns the default path of the file of approvals.
func Path() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find configuration directory: %w", err)
	}
	return filepath.Join(dir, "causeway", "approved.json"), nil
}

// store is the file of approvals. Every access opens it again, since other gateways
// write it, too.
type store struct{ path string }

// stored is the content of the file, by authority, workspace and name.
type stored struct {
	Version int                                                `json:"version"`
	Remotes map[string]map[string]map[string]resource.Resource `json:"remotes"`
}

// get returns the approved resources of a workspace on a remote, by name.
func (s store) get(authority, workspace string) (map[string]resource.Resource, error) {
	content, err := s.read()
	if err != nil {
		return nil, err
	}
	return content.Remotes[authority][workspace], nil
}

// put records a resource as approved, in place of an earlier one of that name. It does
// not write a file that it cannot read.
func (s store) put(authority, workspace string, r resource.Resource) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock, err := lockfile.Acquire(ctx, s.path+".lock")
	if err != nil {
		return err
	}
	defer lock.Release()
	content, err := s.read()
	if err != nil {
		return err
	}
	if content.Remotes == nil {
		content.Remotes = map[string]map[string]map[string]resource.Resource{}
	}
	if content.Remotes[authority] == nil {
		content.Remotes[authority] = map[string]map[string]resource.Resource{}
	}
	if content.Remotes[authority][workspace] == nil {
		content.Remotes[authority][workspace] = map[string]resource.Resource{}
	}
	content.Remotes[authority][workspace][r.Name] = r
	b, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return lockfile.Replace(s.path, append(b, '\n'))
}

func (s store) read() (stored, error) {
	empty := stored{Version: storeVersion}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return empty, err
	}
	if !info.Mode().IsRegular() || writableByOthers(info) {
		return empty, fmt.Errorf("%s is not used: it must be a file that only its owner can write", s.path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxStore+1))
	if err != nil {
		return empty, err
	}
	var content stored
	switch err := json.Unmarshal(b, &content); {
	case len(b) > maxStore:
		return empty, fmt.Errorf("%s is not used: it is longer than %d bytes", s.path, maxStore)
	case err != nil:
		return empty, fmt.Errorf("%s is damaged and not used; move it away to start anew: %w", s.path, err)
	case content.Version != storeVersion:
		return empty, fmt.Errorf("%s is not used: its version is %d, this helper knows %d", s.path, content.Version, storeVersion)
	}
	for _, workspaces := range content.Remotes {
		for _, resources := range workspaces {
			for name, r := range resources {
				if r.Name != name {
					return empty, fmt.Errorf("%s is damaged and not used; move it away to start anew: %q is named %q", s.path, name, r.Name)
				}
			}
		}
	}
	return content, nil
}
