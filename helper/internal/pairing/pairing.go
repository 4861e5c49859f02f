// Package pairing lets pages in the user's browser drive a helper: it keeps the
// token that they show and the origins that the user has allowed, and serves
// WebSockets on loopback to those pages alone.
package pairing

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/lockfile"
)

// Pairing has the token that pages must show, and the origins that the user has
// allowed. It is kept in a file that only the user can read, so that the helper can
// restart without a new pairing.
type Pairing struct {
	path string
	mu   sync.Mutex
	kept struct {
		Token   string   `json:"token"`
		Origins []string `json:"origins"` // pages that the user has allowed
	}
}

// File returns the path of a file in the folder that keeps the pairing, which belongs
// to the user alone.
func File(name string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for settings: %w", err)
	}
	return filepath.Join(dir, "causeway", name), nil
}

// Open reads the pairing from its file, or makes one.
func Open() (*Pairing, error) {
	path, err := File("pairing.json")
	if err != nil {
		return nil, err
	}
	p := &Pairing{path: path}
	text, err := os.ReadFile(p.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.kept.Token = rand.Text()
		return p, p.save()
	case err != nil:
		return nil, fmt.Errorf("read pairing: %w", err)
	}
	if err := json.Unmarshal(text, &p.kept); err != nil || len(p.kept.Token) < 20 {
		return nil, fmt.Errorf("read pairing: %s is damaged: delete it, then pair again", p.path)
	}
	return p, nil
}

func (p *Pairing) save() error {
	text, err := json.MarshalIndent(p.kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("keep pairing: %w", err)
	}
	if err := lockfile.Replace(p.path, append(text, '\n')); err != nil {
		return fmt.Errorf("keep pairing: %w", err)
	}
	return nil
}

// Token returns the token that a page must show.
func (p *Pairing) Token() string { return p.kept.Token }

func (p *Pairing) knows(origin string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.kept.Origins, origin)
}

// allow remembers that the user has allowed an origin.
func (p *Pairing) allow(origin string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.kept.Origins, origin) {
		return nil
	}
	p.kept.Origins = append(p.kept.Origins, origin)
	return p.save()
}
