package consent

import (
	"cmp"
	"slices"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// Entry is one approval in the file.
type Entry struct {
	Remote    string            `json:"remote"`    // after the origin and a space, if a page asked
	Workspace string            `json:"workspace"` // a URI, may be empty
	Resource  resource.Resource `json:"resource"`
	Since     *time.Time        `json:"since,omitempty"` // nil: approved by an older helper
}

// List returns the approvals in the file at path, by remote, workspace and name.
func List(path string) ([]Entry, error) {
	content, err := store{path: path}.read()
	if err != nil {
		return nil, err
	}
	return content.entries(), nil
}

// Revoke removes the approvals for which drop returns true, and returns them. Gateways
// that run notice it within a second, reset the flows, and ask again.
func Revoke(path string, drop func(Entry) bool) ([]Entry, error) {
	var gone []Entry
	err := store{path: path}.update(func(content *stored) error {
		for _, e := range content.entries() {
			if drop(e) {
				gone = append(gone, e)
				content.Remotes.remove(e.Remote, e.Workspace, e.Resource.Name)
				content.Since.remove(e.Remote, e.Workspace, e.Resource.Name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

func (s stored) entries() []Entry {
	out := []Entry{}
	for remote, workspaces := range s.Remotes {
		for workspace, resources := range workspaces {
			for name, r := range resources {
				e := Entry{Remote: remote, Workspace: workspace, Resource: r}
				if since, ok := s.Since[remote][workspace][name]; ok {
					e.Since = &since
				}
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Remote, b.Remote), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Resource.Name, b.Resource.Name))
	})
	return out
}
