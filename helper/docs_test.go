package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// quoted finds the names in backticks on a page.
func quoted(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

// TestArchitecturePage fails for a package of the helper that ARCHITECTURE.md does
// not name, by its path or by the last part of it. Packages for tests do not count.
func TestArchitecturePage(t *testing.T) {
	names := quoted(t, "ARCHITECTURE.md")
	for path := range rules {
		if _, err := os.Stat(filepath.Join("internal", path)); err != nil || path == "hostile" || strings.HasSuffix(path, "test") {
			continue
		}
		if !slices.Contains(names, path) && !slices.Contains(names, filepath.Base(path)) {
			t.Errorf("ARCHITECTURE.md does not name %s", path)
		}
	}
}

// TestSecurityPage fails for a package that SECURITY.md says enforces something and
// that does not exist.
func TestSecurityPage(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile(`\*Enforced\s+in\*([^.]*\.)`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(m[1], -1) {
			found++
			_, internal := os.Stat(filepath.Join("internal", name[1]))
			if _, root := os.Stat(filepath.Join("..", name[1])); internal != nil && root != nil {
				t.Errorf("SECURITY.md says that %s enforces something: there is no such package", name[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d packages in SECURITY.md", found)
	}
}
