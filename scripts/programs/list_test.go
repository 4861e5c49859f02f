// Package programs compares scripts/programs.txt with the tree: every program that a
// script or a test executes must be on the list, and every entry must be used.
package programs

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// entry is a line of the list.
type entry struct{ program, source, groups, by string }

func readList(t *testing.T) (list []entry) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "scripts", "programs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) < 3 {
			t.Fatalf("programs.txt: %q has no source or no group", line)
		}
		list = append(list, entry{fields[0], fields[1], fields[2], strings.Join(fields[3:], " ")})
	}
	return list
}

// files lists the files of the tree that git tracks or would add.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, name))
		return err != nil // deleted, but git still tracks it
	})
}

// walkTree finds the programs that the files of the tree execute.
func walkTree(t *testing.T) *walk {
	t.Helper()
	w := newWalk(t)
	packages := map[string][]string{}
	var scripts []string
	for _, name := range files(t) {
		switch path.Ext(name) {
		case ".go":
			packages[path.Dir(name)] = append(packages[path.Dir(name)], name)
		case ".mjs", ".cjs", ".js", ".ts", ".mts":
			w.javaScript(name, read(t, name))
		case ".json":
			if path.Base(name) == "package.json" {
				w.manifest(name, read(t, name))
			}
		default:
			if strings.HasPrefix(name, "scripts/") || strings.HasPrefix(name, ".ci/") {
				if text := read(t, name); isShell(text) {
					scripts = append(scripts, name)
					w.declare(name, text)
				}
			}
		}
	}
	for _, name := range scripts {
		w.shell(name, read(t, name))
	}
	for _, dir := range sortedKeys(packages) {
		w.goPackage(packages[dir])
	}
	return w
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func isShell(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return strings.HasPrefix(first, "#!") && strings.Contains(first, "sh") || strings.Contains(text, "\n# shellcheck shell=")
}

func TestEveryProgramIsListed(t *testing.T) {
	list := readList(t)
	w := walkTree(t)
	for _, program := range sortedKeys(w.uses) {
		if !slices.ContainsFunc(list, func(e entry) bool { return e.program == program }) {
			t.Errorf("%s is not in scripts/programs.txt; used in %s", program, strings.Join(w.uses[program], ", "))
		}
	}
	for i, e := range list {
		used := e.program != "-" && w.uses[e.program] != nil
		switch {
		case e.program == "-" && e.by == "":
			t.Errorf("programs.txt: nobody is said to need %s", e.source)
		case e.program != "-" && !used && e.by == "":
			t.Errorf("programs.txt: nothing executes %s", e.program)
		case used && e.by != "":
			t.Errorf("programs.txt: %s is executed here, in %s, not only by %s", e.program, w.uses[e.program][0], e.by)
		}
		if slices.ContainsFunc(list[:i], func(other entry) bool { return e.program != "-" && other.program == e.program }) {
			t.Errorf("programs.txt: %s is listed twice", e.program)
		}
	}
}

// TestEveryGroupIsInstalled fails for a package that no install step installs, and
// for an install step that names packages itself.
func TestEveryGroupIsInstalled(t *testing.T) {
	steps := map[string]bool{}
	for _, name := range files(t) {
		if !strings.HasPrefix(name, "scripts/") {
			continue
		}
		for n, line := range strings.Split(read(t, name), "\n") {
			words := strings.Fields(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			for i, word := range words {
				switch strings.TrimPrefix(word, "$(") {
				case "need_programs", "packages_of":
					for _, group := range words[i+1:] {
						steps[strings.Trim(group, ";)")] = true
					}
				case "need_apt":
					if i+1 < len(words) && !strings.Contains(words[i+1], "$") {
						t.Errorf("%s:%d names packages that programs.txt should name: %s", name, n+1, line)
					}
				}
			}
		}
	}
	for _, e := range readList(t) {
		kind, pkg, _ := strings.Cut(e.source, ":")
		switch kind {
		case "apt":
			for group := range strings.SplitSeq(e.groups, ",") {
				if pkg == "" || !steps[group] {
					t.Errorf("programs.txt: %s: no step installs %q", e.program, group)
				}
			}
		case "base", "machine", "npm", "cache", "tree", "macos":
			if pkg != "" || e.groups != "-" {
				t.Errorf("programs.txt: %s: %s has neither a package nor a group", e.program, kind)
			}
		default:
			t.Errorf("programs.txt: %s: no such source: %s", e.program, e.source)
		}
	}
}
