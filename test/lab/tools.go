//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tools are the paths of external programs. A field is empty if no requested
// service needs it.
type tools struct {
	node     string // Node 24, which the editor requires
	modules  string // test/e2e/node_modules
	postgres string // directory of PostgreSQL's programs
	sshd     string
	chronyd  string
	chromium string
}

// findTools finds all programs before the lab starts anything, so that a missing
// one is reported at once.
func findTools(o Options) (tools, error) {
	var t tools
	var err error
	need := func(services ...string) bool {
		return slices.ContainsFunc(services, func(s string) bool { return slices.Contains(o.Services, s) })
	}
	if need(NPM) || o.Editor != nil {
		if t.node, err = findNode(); err != nil {
			return t, err
		}
		root := o.Root
		if root == "" {
			if root, err = moduleRoot(); err != nil {
				return t, err
			}
		}
		// need_e2e makes a link. Its target is open to users who cannot enter the tree.
		if t.modules, err = filepath.EvalSymlinks(filepath.Join(root, "test", "e2e", "node_modules")); err != nil {
			return t, fmt.Errorf("find the editor and the registry: %w; need_e2e of scripts/lib/install.sh installs them", err)
		}
	}
	if need(Postgres) {
		if t.postgres, err = findPostgres(); err != nil {
			return t, err
		}
	}
	if need(Git, SSH) {
		if t.sshd, err = findProgram("sshd", "openssh-server"); err != nil {
			return t, err
		}
	}
	if need(NTP) {
		const kept = "/var/cache/causeway/chrony/usr/sbin/chronyd" // by need_chronyd
		if t.chronyd, err = findProgram("chronyd", "chrony"); err != nil {
			if _, kerr := os.Stat(kept); kerr != nil {
				return t, err
			}
			t.chronyd = kept
		}
	}
	if o.Editor != nil {
		if t.chromium, err = findProgram("chromium", "chromium"); err != nil {
			return t, err
		}
	}
	return t, nil
}

// findProgram also looks in /usr/sbin, which may be missing in PATH.
func findProgram(name, pkg string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s: it is not installed; Debian's package is %s", name, pkg)
	}
	return path, nil
}

func findPostgres() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(dirs) == 0 {
		return "", errors.New("find PostgreSQL: it is not installed; Debian's package is postgresql")
	}
	newest := slices.MaxFunc(dirs, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// findNode takes Node 24 from PATH, else the copy that need_node keeps.
func findNode() (string, error) {
	candidates, _ := filepath.Glob("/var/cache/causeway/node-24/node_modules/node-linux-*/bin/node")
	if path, err := exec.LookPath("node"); err == nil {
		candidates = append([]string{path}, candidates...)
	}
	for _, path := range candidates {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		cancel()
		major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
		if n, aerr := strconv.Atoi(major); err == nil && aerr == nil && n == 24 {
			return path, nil
		}
	}
	return "", errors.New("find Node 24: it is not installed; need_node of scripts/lib/install.sh installs it")
}

// moduleRoot finds the directory of go.mod above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("find the module above %s: no go.mod there", dir)
		}
	}
}
