// Package consent keeps the user's approvals. It compares the lists of the settings with
// the resources that the user approved, and returns which resources are approved and
// which need an answer of the user. It resolves, dials and serves nothing.
package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// watchPeriod is how often Changes looks at the file.
const watchPeriod = 500 * time.Millisecond

// Decision is the user's answer to a proposal.
type Decision string

// The decisions. Always holds for this remote and workspace until the resource changes.
// Once and No hold for this Approvals only.
const (
	Always Decision = "always"
	Once   Decision = "once"
	No     Decision = "no"
)

// Proposal is a resource that needs the user's answer.
type Proposal struct {
	ID          string // digest of everything shown, authority and workspace included
	Resource    resource.Resource
	From        string                // resource.FromUser or resource.FromWorkspace
	Change      string                // "new", or "changed" since it was last approved
	Differences []resource.Difference // from what was approved
	Warnings    []string              // sentences
}

// Review is the result for the lists of the settings. Each resource without a problem is
// in exactly one of Approved, Pending and Refused.
type Review struct {
	Approved []resource.Approved
	Pending  []Proposal
	Refused  []Proposal // the user said no
	Problems []resource.Problem
}

// Approvals keeps the user's decisions for one workspace on one remote. It keeps Always
// in a file that all gateways of the user share.
type Approvals struct {
	store     store
	authority string
	workspace string

	mu          sync.Mutex
	user, asked []resource.Resource          // the lists of the last Review
	once        map[string]resource.Resource // approved for this session, by name
	no          map[string]bool              // refused for this session, by the proposal's ID
	pending     map[string]Proposal          // as last returned
}

// New returns the approvals of a workspace on a remote, with the file at path. It does
// not read the file yet.
func New(path, authority, workspace string) *Approvals {
	return &Approvals{
		store: store{path: path}, authority: authority, workspace: workspace,
		once: map[string]resource.Resource{}, no: map[string]bool{}, pending: map[string]Proposal{},
	}
}

// Review compares the lists of the user and of the workspace with the approvals. If the
// file cannot be used, the result says so in Problems, and only the approvals of this
// session count.
func (a *Approvals) Review(user, workspace []resource.Resource) Review {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.user, a.asked = user, workspace
	return a.review()
}

// Answer records the user's decision on a pending proposal and returns a new review. It
// returns an error if the proposal is no longer pending in this form, or if Always could
// not be written and holds for this session only.
func (a *Approvals) Answer(id string, d Decision) (Review, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pending[id]
	if !ok {
		return a.review(), errors.New("this request for approval is no longer pending; the settings may have changed meanwhile")
	}
	var err error
	switch d {
	case No:
		a.no[id] = true
	case Always:
		if err = a.store.put(a.authority, a.workspace, p.Resource); err == nil {
			delete(a.once, p.Resource.Name)
			break
		}
		err = fmt.Errorf("keep approval: it holds for this session only: %w", err)
		fallthrough
	case Once:
		a.once[p.Resource.Name] = p.Resource
	default:
		err = fmt.Errorf("unknown decision %q", string(d))
	}
	return a.review(), err
}

// Again repeats the last review with the file as it is now.
func (a *Approvals) Again() Review {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.review()
}

// Changes calls f once soon after it begins, and then within a second after the file
// changes, until ctx ends.
func (a *Approvals) Changes(ctx context.Context, f func()) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var seen fs.FileInfo
	for first := true; ; first = false {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		// Replacing the file gives it another identity, also within one tick of the clock.
		now, err := os.Stat(a.store.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		same := (now == nil) == (seen == nil)
		if same && now != nil {
			same = os.SameFile(now, seen) && now.ModTime().Equal(seen.ModTime()) && now.Size() == seen.Size()
		}
		seen = now
		if first || !same {
			f()
		}
	}
}

func (a *Approvals) review() Review {
	var out Review
	always, err := a.store.get(a.authority, a.workspace)
	if err != nil {
		out.Problems = append(out.Problems, resource.Problem{Path: a.store.path, Message: err.Error()})
	}
	clear(a.pending)
	seen := map[string]bool{}
	for _, list := range []struct {
		from      string
		resources []resource.Resource
	}{{resource.FromUser, a.user}, {resource.FromWorkspace, a.asked}} {
		for _, r := range list.resources {
			if seen[r.Name] {
				out.Problems = append(out.Problems, resource.Problem{Path: "workspaceResources", Message: fmt.Sprintf(
					"the workspace asks for %q, a name that the user's own settings have; theirs holds", r.Name)})
				continue
			}
			seen[r.Name] = true
			a.sort(&out, r, list.from, always)
		}
	}
	return out
}

// sort adds a resource to the part of the review that it belongs to.
func (a *Approvals) sort(out *Review, r resource.Resource, from string, always map[string]resource.Resource) {
	if before, ok := a.once[r.Name]; ok && r.Within(before) {
		a.once[r.Name] = r
		out.Approved = append(out.Approved, resource.Approved{Resource: r, From: from})
		return
	}
	if before, ok := always[r.Name]; ok && r.Within(before) {
		out.Approved = append(out.Approved, resource.Approved{Resource: r, From: from})
		if r.Equal(before) {
			return
		}
		// Less needs no approval, but going back to more does.
		if err := a.store.narrow(a.authority, a.workspace, r); err != nil {
			out.Problems = append(out.Problems, resource.Problem{Path: a.store.path, Message: err.Error()})
		}
		return
	}
	p := Proposal{Resource: r, From: from, Change: "new", Warnings: warnings(r)}
	for _, approved := range []map[string]resource.Resource{always, a.once} {
		if before, ok := approved[r.Name]; ok {
			p.Change, p.Differences = "changed", resource.Differences(before, r)
		}
	}
	p.ID = p.digest(a.authority, a.workspace)
	if a.no[p.ID] {
		out.Refused = append(out.Refused, p)
		return
	}
	a.pending[p.ID] = p
	out.Pending = append(out.Pending, p)
}

// digest covers everything that the user sees, so that an answer counts only for that.
func (p Proposal) digest(authority, workspace string) string {
	p.ID = ""
	b, err := json.Marshal(struct {
		Authority, Workspace string
		Proposal             Proposal
	}{authority, workspace, p})
	if err != nil {
		panic(err) // nothing in it can fail to be marshalled
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
