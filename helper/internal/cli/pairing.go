package cli

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// pairing is what browsers have to show: kept in a file of the user's own, so
// that a restart of the helper needs no new pairing.
type pairing struct {
	path string
	mu   sync.Mutex
	kept struct {
		Token   string   `json:"token"`
		Origins []string `json:"origins"` // pages that the user has allowed
	}
}

// configDir is where what the user decided is kept.
func configDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for settings: %w", err)
	}
	return filepath.Join(dir, "causeway"), nil
}

// openPairing reads the pairing, or makes one.
func openPairing() (*pairing, error) {
	dir, err := configDir()
	if err != nil {
		return nil, err
	}
	p := &pairing{path: filepath.Join(dir, "pairing.json")}
	text, err := os.ReadFile(p.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.kept.Token = rand.Text()
		return p, p.save()
	case err != nil:
		return nil, fmt.Errorf("read pairing: %w", err)
	}
	if err := json.Unmarshal(text, &p.kept); err != nil || len(p.kept.Token) < 20 {
		return nil, fmt.Errorf("read pairing: %s is damaged; delete it to pair anew", p.path)
	}
	return p, nil
}

func (p *pairing) save() error {
	text, err := json.MarshalIndent(p.kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("keep pairing: %w", err)
	}
	next := p.path + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep pairing: %w", err)
	}
	if err := os.Rename(next, p.path); err != nil {
		return fmt.Errorf("keep pairing: %w", err)
	}
	return nil
}

func (p *pairing) token() string { return p.kept.Token }

func (p *pairing) knows(origin string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.kept.Origins, origin)
}

// allow remembers that the user has allowed an origin.
func (p *pairing) allow(origin string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.kept.Origins, origin) {
		return nil
	}
	p.kept.Origins = append(p.kept.Origins, origin)
	return p.save()
}
