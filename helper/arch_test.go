package main_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const internal = "github.com/causeway-dev/causeway/helper/internal/"

// forbidden says what must not be among the dependencies of a package and of
// those below it, however it gets there. Each entry stands for itself and all
// below it. What may import what directly is in .golangci.yml.
var forbidden = []struct {
	of  string
	not []string
}{
	{"gateway", []string{internal + "capture", internal + "rpc", internal + "carrier", internal + "cli",
		"github.com/vishvananda", "github.com/spf13", "github.com/sourcegraph"}},
	{"capture", []string{internal + "gateway", internal + "rpc", internal + "carrier", internal + "cli",
		"github.com/spf13", "github.com/sourcegraph"}},
	{"capture/hostnet", []string{internal + "tunnel", internal + "peer", "github.com", "net/http"}},
	{"capture/tun", []string{"net/http", "golang.zx2c4.com/wireguard/device", "golang.zx2c4.com/wireguard/tun/netstack"}},
	{"capture/run", []string{internal + "capture/names", internal + "capture/proxy", internal + "peer", "github.com/spf13", "os/exec"}},
	{"gateway/ping", []string{internal + "resource", internal + "peer", "net/http"}},
	{"gateway/systemdns", []string{internal + "tunnel", internal + "resource", internal + "peer", "net/http", "os/exec"}},
	{"records", []string{"github.com/causeway-dev", "net/http", "os/exec"}},
	{"rpc", []string{internal + "gateway", internal + "capture", internal + "tunnel", internal + "carrier",
		"github.com/hashicorp", "github.com/spf13"}},
	{"daemon", []string{internal + "rpc", internal + "tunnel", internal + "carrier", internal + "gateway", internal + "capture", "net/http"}},
	{"lockfile", []string{"github.com/causeway-dev", "net/http", "os/exec"}},
	{"tunnel", []string{internal + "carrier", internal + "rpc", internal + "peer", "net/http", "os/exec"}},
	{"carrier", []string{internal + "tunnel", internal + "rpc", internal + "peer", "github.com/hashicorp",
		"net/http", "os/exec"}},
	{"resource", []string{internal + "rpc", internal + "tunnel", internal + "peer", "net/http", "os/exec"}},
	{"nethost", []string{"github.com", "net/http", "os/exec"}},
	{"offer", []string{internal + "rpc", internal + "tunnel", internal + "resource", "net/http", "os/exec"}},
	{"netx", []string{internal + "tunnel", internal + "resource", "github.com", "net/http", "os/exec"}},
	{"peer", []string{internal + "rpc", internal + "resource", internal + "tunnel", "github.com", "golang.org", "net"}},
}

// importers lists who alone may import a package directly.
var importers = map[string][]string{
	"os/exec":                                 {"capture/hostnet", "cli", "daemon", "gateway/ping"},
	"net/http":                                {"capture", "cli", "rpc", "gateway"},
	"github.com/hashicorp/yamux":              {"tunnel"},
	"github.com/sourcegraph/jsonrpc2":         {"rpc"},
	"golang.zx2c4.com/wireguard/device":       {"gateway/exit"},
	"golang.zx2c4.com/wireguard/tun":          {"gateway/exit", "capture/tun"},
	"gvisor.dev/gvisor/pkg/tcpip/stack":       {"gateway/exit", "capture/tun"},
	"golang.zx2c4.com/wireguard/tun/netstack": {"gateway/exit"},
	"golang.org/x/net/bpf":                    {"capture/run"},
	"github.com/miekg/dns":                    {"records", "gateway", "capture/dns"},
	"C":                                       {},
	"plugin":                                  {},
	"net/http/pprof":                          {},
	"expvar":                                  {},
}

// within tells whether a package is tree or below it.
func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list returns every package of the helper as it is built for goos.
func list(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps=false", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			packages := list(t, goos)
			for _, rule := range forbidden {
				guarded := false
				for _, p := range packages {
					if !within(p.ImportPath, internal+rule.of) || strings.HasSuffix(p.ImportPath, "test") {
						continue
					}
					guarded = true
					for _, dep := range p.Deps {
						if slices.ContainsFunc(rule.not, func(not string) bool { return within(dep, not) }) {
							t.Errorf("%s depends on %s", p.ImportPath, dep)
						}
					}
				}
				if !guarded {
					t.Errorf("no package %s: its rules guard nothing", rule.of)
				}
			}
			for _, p := range packages {
				name := strings.TrimPrefix(p.ImportPath, internal)
				for _, dep := range p.Imports {
					allowed, ok := importers[dep]
					if ok && !slices.ContainsFunc(allowed, func(a string) bool { return within(name, a) }) {
						t.Errorf("%s imports %s, which is left to %s", name, dep, cmp.Or(strings.Join(allowed, " and "), "nobody"))
					}
				}
			}
		})
	}
}

// TestPackageDocs wants one package comment in every package: two contradict
// each other sooner or later.
func TestPackageDocs(t *testing.T) {
	docs := map[string]int{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		docs[dir] += 0
		if file.Doc != nil {
			docs[dir]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments", dir, n)
		}
	}
}
