package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder in which nothing can be locked is skipped at once, and none is left behind.
func TestChooseDir(t *testing.T) {
	good, other := t.TempDir(), t.TempDir()
	blocked := filepath.Join(good, "file") // below a file there is no folder
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(other, strings.Repeat("x", maxPath))
	for _, tc := range []struct {
		bases []string
		want  string
	}{
		{[]string{good, other}, filepath.Join(good, "run-1")},
		{[]string{filepath.Join(blocked, "sub"), other}, filepath.Join(other, "run-1")},
		{[]string{long, other}, filepath.Join(other, "run-1")},
		{[]string{filepath.Join(good, "not", "yet")}, filepath.Join(good, "not", "yet", "run-1")},
		{[]string{blocked}, ""},
		{nil, ""},
	} {
		got, err := chooseDir(tc.bases, "run-1")
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%v: %q, %v", tc.bases, got, err)
		}
	}
	for _, dir := range []string{good, other} {
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	// One that a helper uses stays the choice, whatever comes to its folder.
	if err := os.Mkdir(filepath.Join(other, "run-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := chooseDir([]string{other, good}, "run-1"); err != nil || got != filepath.Join(other, "run-1") {
		t.Errorf("%q, %v", got, err)
	}
}
