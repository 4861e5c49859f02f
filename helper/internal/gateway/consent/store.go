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
	Version int                        `json:"version"`
	Remotes byPlace[resource.Resource] `json:"remotes"`

	// Since says when the user approved. It has no entry for what an older helper has
	// written.
	Since byPlace[time.Time] `json:"since,omitempty"`
}

// byPlace has values by authority, workspace and name of the resource.
type byPlace[V any] map[string]map[string]map[string]V

func (m *byPlace[V]) set(authority, workspace, name string, v V) {
	if *m == nil {
		*m = byPlace[V]{}
	}
	if (*m)[authority] == nil {
		(*m)[authority] = map[string]map[string]V{}
	}
	if (*m)[authority][workspace] == nil {
		(*m)[authority][workspace] = map[string]V{}
	}
	(*m)[authority][workspace][name] = v
}

// remove leaves no empty map behind.
func (m byPlace[V]) remove(authority, workspace, name string) {
	delete(m[authority][workspace], name)
	if len(m[authority][workspace]) == 0 {
		delete(m[authority], workspace)
	}
	if len(m[authority]) == 0 {
		delete(m, authority)
	}
}

// get returns the approved resources of a workspace on a remote, by name.
func (s store) get(authority, workspace string) (map[string]resource.Resource, error) {
	content, err := s.read()
	if err != nil {
		return nil, err
	}
	return content.Remotes[authority][workspace], nil
}

// put records a resource as approved now, in place of an earlier one of that name.
func (s store) put(authority, workspace string, r resource.Resource) error {
	return s.update(func(content *stored) error {
		content.Remotes.set(authority, workspace, r.Name, r)
		content.Since.set(authority, workspace, r.Name, time.Now().UTC().Truncate(time.Second))
		return nil
	})
}

// narrow replaces an approved resource by r, which is within it. It changes nothing if
// the file no longer approves r: another process may have revoked it meanwhile.
func (s store) narrow(authority, workspace string, r resource.Resource) error {
	return s.update(func(content *stored) error {
		before, ok := content.Remotes[authority][workspace][r.Name]
		if !ok || !r.Within(before) {
			return fmt.Errorf("the approval of %q has changed meanwhile", r.Name)
		}
		content.Remotes.set(authority, workspace, r.Name, r)
		return nil
	})
}

// update changes the file. It does not write a file that it cannot read, nor after an
// error of change.
func (s store) update(change func(*stored) error) error {
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
	if err := change(&content); err != nil {
		return err
	}
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
