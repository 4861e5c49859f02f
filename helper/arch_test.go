package main_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module   = "github.com/causeway-dev/causeway/"
	internal = module + "helper/internal/"
)

// In both tables, spaces separate the words of a list, and "p/..." stands for p and
// every package below it. Packages of helper/internal are named by their path from
// there, other packages of this module by their path from the root.

// rule states what one package may depend on.
type rule struct {
	may     string // packages of this module that it imports
	tests   string // packages of this module that only its tests import
	never   string // packages of this module that it and those below it must not reach by any path
	without string // other packages of which the same holds
	only    string // if it is set, all packages of other modules that those may reach
}

// rules has an entry for every package of the module. TestImports fails for a missing
// package, and for a permission that no package uses.
var rules = map[string]rule{
	"netx":        {without: "github.com/... net/http os/exec"},
	"peer":        {without: "github.com/... golang.org/... net net/http os/exec"},
	"httpconnect": {may: "netx", without: "os/exec"},
	"cache":       {without: "github.com/... net/http os/exec"},
	"records":     {may: "cache", without: "net/http os/exec"},
	"lockfile":    {without: "net/http os/exec"},
	"kernelnet":   {only: "github.com/mdlayher/netlink/... github.com/mdlayher/socket golang.org/x/...", without: "net/http os/exec"},
	"nethost":     {without: "github.com/... net/http os/exec"},
	"offer":       {may: "nethost peer", never: "rpc tunnel resource", without: "net/http os/exec"},
	"resource":    {may: "nethost", without: "net/http os/exec"},
	"daemon":      {may: "lockfile logs netx", never: "rpc tunnel carrier gateway/... capture/...", without: "net/http"},

	"tunnel":            {may: "netx", tests: "tunnel/tunneltest", never: "carrier rpc peer", without: "net/http os/exec"},
	"tunnel/tunneltest": {may: "tunnel"},
	"carrier":           {may: "netx", never: "tunnel/... rpc peer", without: "github.com/hashicorp/... net/http os/exec"},
	"rpc":               {may: "resource", tests: "hostile", never: "gateway/... capture/... tunnel/... carrier cli", without: "github.com/hashicorp/... github.com/spf13/..."},

	"hostile": {tests: "carrier netx tunnel tunnel/tunneltest", without: "github.com/... net/http os/exec"},

	"gateway": {may: "gateway/dial gateway/health gateway/journal gateway/judge gateway/probe gateway/show gateway/turns nethost netx peer records resource tunnel",
		tests:   "gateway/dialtest tunnel/tunneltest",
		never:   "capture/... rpc carrier cli gateway/consent",
		without: "github.com/vishvananda/... github.com/spf13/... github.com/sourcegraph/..."},
	"gateway/consent":   {may: "lockfile nethost netx resource", never: "tunnel records peer", without: "net/http os/exec"},
	"gateway/dial":      {may: "cache gateway/judge gateway/nss gateway/ping gateway/systemdns nethost netx records resource tunnel", tests: "gateway/dialtest", never: "gateway peer"},
	"gateway/dialtest":  {may: "resource"},
	"gateway/health":    {without: "github.com/... net/http os/exec"},
	"gateway/judge":     {may: "nethost resource", tests: "gateway/dialtest", never: "tunnel peer", without: "os/exec net/http"},
	"gateway/journal":   {may: "gateway/show tunnel", tests: "hostile", never: "gateway peer", without: "net/http os/exec"},
	"gateway/nss":       {without: "github.com/... net/http"},
	"gateway/probe":     {may: "gateway/dial gateway/show nethost resource tunnel", tests: "gateway/dialtest", never: "gateway peer"},
	"gateway/show":      {may: "tunnel"},
	"gateway/turns":     {without: "github.com/... net/http os/exec"},
	"gateway/exit":      {may: "httpconnect gateway/ping gateway/systemdns records resource tunnel", never: "gateway"},
	"gateway/ping":      {may: "tunnel", never: "gateway resource peer", without: "net/http"},
	"gateway/systemdns": {may: "netx records", never: "gateway tunnel resource peer", without: "net/http os/exec"},

	"capture": {may: "capture/bridge capture/dns capture/flow capture/handover capture/hostnet capture/names capture/owner capture/proxy capture/tun offer peer tunnel", tests: "tunnel/tunneltest",
		never: "gateway/... rpc carrier cli", without: "github.com/spf13/... github.com/sourcegraph/..."},
	"capture/bridge":   {may: "capture/dns capture/flow capture/hostnet capture/names capture/owner offer peer tunnel"},
	"capture/dns":      {may: "capture/flow capture/hostnet capture/owner records tunnel", tests: "tunnel/tunneltest"},
	"capture/flow":     {may: "capture/owner netx tunnel", tests: "tunnel/tunneltest"},
	"capture/handover": {may: "capture/flow capture/owner netx tunnel", tests: "tunnel/tunneltest"},
	// The privileged part: what it reaches is read as its own code is.
	"capture/held": {never: "tunnel peer", without: "github.com/... net/http os/exec"},
	"capture/hostnet": {may: "capture/held kernelnet", never: "tunnel peer", without: "net/http",
		only: "github.com/mdlayher/netlink/... github.com/mdlayher/socket golang.org/x/net/bpf golang.org/x/sync/errgroup golang.org/x/sys/unix"},
	"capture/names": {may: "capture/flow capture/held capture/hostnet capture/owner netx offer peer tunnel", tests: "tunnel/tunneltest"},
	"capture/owner": {may: "kernelnet tunnel"},
	"capture/proxy": {may: "httpconnect capture/flow capture/owner netx tunnel", tests: "tunnel/tunneltest"},
	"capture/run": {may: "capture/handover capture/owner tunnel", tests: "capture/flow netx tunnel/tunneltest",
		never: "capture/names capture/proxy peer", without: "github.com/spf13/... os/exec"},
	"capture/tun": {may: "capture/flow capture/hostnet capture/owner netx offer tunnel", tests: "peer tunnel/tunneltest",
		without: "net/http golang.zx2c4.com/wireguard/device golang.zx2c4.com/wireguard/tun/netstack"},

	"cli": {may: "askpage capture/hostnet capture/owner capture/proxy capture/run carrier connect daemon doctor gateway/consent link logs netx pairing " +
		"resource rpc service session session/capturerole session/gatewayrole terminal"},
	"service":    {without: "github.com/... net/http"},
	"logs":       {without: "net/http os/exec"},
	"terminal":   {may: "tunnel", without: "net/http os/exec"},
	"privileged": {may: "capture/bridge capture/hostnet capture/tun", never: "gateway/... rpc session/..."},
	"doctor":     {may: "capture/hostnet capture/owner capture/run gateway/exit privileged resource", never: "rpc session/... cli"},
	"link":       {may: "carrier kernelnet netx rpc", tests: "hostile", never: "gateway/... capture/... tunnel/... session/... cli"},
	"askpage":    {may: "lockfile", never: "gateway/... capture/... session/... cli"},
	"pairing":    {may: "lockfile rpc terminal", tests: "hostile", never: "gateway/... capture/... session/... cli"},
	"session":    {may: "carrier daemon link rpc tunnel", never: "cli"},
	"session/gatewayrole": {may: "carrier daemon gateway gateway/consent gateway/dial gateway/exit gateway/health gateway/journal gateway/systemdns link logs resource rpc session terminal tunnel",
		never: "capture/... session/capturerole cli"},
	"session/capturerole": {may: "capture capture/dns capture/handover capture/hostnet capture/names capture/owner carrier daemon link privileged rpc session tunnel",
		never: "gateway/... session/gatewayrole cli"},
	"connect": {may: "capture/hostnet carrier gateway gateway/dial gateway/systemdns link resource rpc session session/gatewayrole tunnel", tests: "daemon session/capturerole", never: "cli"},
	"helper":  {may: "cli"},

	"scripts/notices":          {},
	"scripts/programs":         {},
	"scripts/vsixcheck":        {},
	"test/bench":               {may: "test/bench/internal/load test/lab test/shim test/wan"},
	"test/bench/internal/load": {},
	"test/wan":                 {},
	"test/containers":          {tests: "test/lab"},
	"test/e2e":                 {tests: "test/lab test/matrix test/shim"},
	"test/lab":                 {may: "test/wan"},
	"test/lab/cmd/lab":         {may: "test/lab"},
	"test/matrix":              {},
	"test/shim":                {},
}

// home lists the packages that may import a dependency, and those whose tests may.
type home struct{ by, tests string }

// homes has an entry for every package of another module, and for those packages of
// the standard library that only some packages may use. The longest entry that
// matches an import counts. No package may import an entry without packages.
var homes = map[string]home{
	"C":              {},
	"expvar":         {},
	"plugin":         {},
	"net/http/pprof": {},
	"net/http":       {by: "askpage capture/proxy gateway/exit httpconnect pairing test/...", tests: "rpc"},
	"os/exec":        {by: "askpage capture/hostnet cli daemon gateway/nss gateway/ping link scripts/notices service test/...", tests: "..."},

	"github.com/cli/browser":                  {by: "askpage"},
	"github.com/coder/websocket":              {by: "pairing rpc test/lab"},
	"github.com/gofrs/flock":                  {by: "lockfile"},
	"github.com/google/go-cmp/...":            {tests: "..."},
	"github.com/hashicorp/yamux":              {by: "tunnel"},
	"github.com/miekg/dns":                    {by: "capture/dns gateway gateway/dial gateway/exit gateway/systemdns records test/..."},
	"github.com/rs/zerolog":                   {by: "askpage capture capture/bridge capture/dns capture/flow capture/handover capture/names capture/proxy capture/tun carrier cli connect daemon gateway gateway/exit link logs pairing session session/capturerole session/gatewayrole tunnel"},
	"github.com/sourcegraph/jsonrpc2":         {by: "rpc"},
	"github.com/spf13/cobra":                  {by: "cli test/lab/cmd/lab"},
	"github.com/tailscale/hujson":             {by: "resource"},
	"go.uber.org/goleak":                      {tests: "..."},
	"github.com/mdlayher/netlink":             {by: "kernelnet"},
	"golang.org/x/net/bpf":                    {by: "capture/held capture/run"},
	"golang.org/x/net/http/httpproxy":         {by: "capture/proxy"},
	"golang.org/x/net/icmp":                   {by: "gateway/ping"},
	"golang.org/x/net/idna":                   {by: "nethost"},
	"golang.org/x/net/ipv4":                   {by: "gateway/ping"},
	"golang.org/x/net/ipv6":                   {by: "gateway/ping"},
	"golang.org/x/net/proxy":                  {by: "capture/proxy cli gateway/exit test/bench/internal/load"},
	"golang.org/x/sync/errgroup":              {by: "test/lab"},
	"golang.org/x/sys/unix":                   {by: "capture/handover capture/held capture/hostnet capture/owner capture/run capture/tun daemon gateway/dial gateway/ping kernelnet link netx test/..."},
	"golang.org/x/sys/windows":                {by: "lockfile daemon gateway/dial gateway/ping gateway/systemdns"},
	"golang.org/x/term":                       {by: "logs terminal"},
	"golang.org/x/time/rate":                  {by: "capture/flow gateway gateway/turns"},
	"golang.zx2c4.com/wireguard/conn":         {by: "gateway/exit"},
	"golang.zx2c4.com/wireguard/device":       {by: "gateway/exit"},
	"golang.zx2c4.com/wireguard/tun":          {by: "capture/tun gateway/exit"},
	"golang.zx2c4.com/wireguard/tun/netstack": {tests: "capture/tun gateway/exit"},
	"golang.zx2c4.com/wireguard/tun/tuntest":  {tests: "capture/tun"},
	"mvdan.cc/sh/v3/syntax":                   {tests: "scripts/programs"},
	"gvisor.dev/gvisor/...":                   {by: "capture/tun gateway/exit"},
}

// matches reports whether one of the patterns stands for path.
func matches(patterns, path string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(p string) bool {
		tree, isTree := strings.CutSuffix(p, "...")
		return p == path || isTree && (strings.HasPrefix(path+"/", tree) || tree == "")
	})
}

// homeOf returns the entry that counts for an import. If there is no entry, ok
// reports whether the import needs one; most of the standard library does not.
func homeOf(path string) (entry string, ok bool) {
	for candidate := range homes {
		if matches(candidate, path) && len(candidate) > len(entry) {
			entry = candidate
		}
	}
	return entry, entry != "" || isModule(path)
}

// isModule reports whether a package is of a module, not of the standard library.
func isModule(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// ours returns the tables' name of a package of this module.
func ours(path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, module)
	return strings.TrimPrefix(name, "helper/internal/"), ok
}

type goPackage struct {
	ImportPath   string
	Imports      []string
	Deps         []string
	TestImports  []string
	XTestImports []string
}

// list returns the packages of the module as they are built for goos. The packages
// below test build for Linux only.
func list(t *testing.T, goos string) []goPackage {
	t.Helper()
	trees := []string{"../helper/...", "../scripts/..."}
	if goos == "linux" {
		trees = []string{"../..."}
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps,TestImports,XTestImports"}, trees...)...)
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

// uses collects the direct imports of every package on all systems.
type uses struct {
	mu      sync.Mutex
	imports map[string][]string // by name of the importing package; ours by name, others by path
	tests   map[string][]string // the same of its tests; has every package
}

// TestImports compares every package, as it is built for each system, with the two
// tables.
func TestImports(t *testing.T) {
	t.Parallel()
	seen := uses{imports: map[string][]string{}, tests: map[string][]string{}}
	t.Run("systems", func(t *testing.T) {
		for _, goos := range []string{"linux", "darwin", "windows"} {
			t.Run(goos, func(t *testing.T) {
				t.Parallel()
				for _, p := range list(t, goos) {
					seen.check(t, p)
				}
			})
		}
	})
	if !t.Failed() {
		seen.stale(t)
	}
}

// check compares one package with its rule and adds its imports to u.
func (u *uses) check(t *testing.T, p goPackage) {
	name, _ := ours(p.ImportPath)
	r, ok := rules[name]
	if !ok {
		t.Errorf("%s has no entry in rules of helper/arch_test.go: say what it may import", name)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, path := range p.Imports {
		u.imports[name] = append(u.imports[name], direct(t, name, path, r.may, false))
	}
	u.tests[name] = append(u.tests[name], "")
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		u.tests[name] = append(u.tests[name], direct(t, name, path, r.may+" "+r.tests, true))
	}
	for _, dep := range p.Deps {
		other, isOurs := ours(dep)
		for above, r := range rules {
			if !matches(above+"/...", name) {
				continue
			}
			if isOurs && matches(r.never, other) || !isOurs && matches(r.without, dep) {
				t.Errorf("%s reaches %s, which the rule of %s bans", name, other, above)
			}
			if !isOurs && r.only != "" && isModule(dep) && !matches(r.only, dep) {
				t.Errorf("%s reaches %s, which the rule of %s does not list", name, dep, above)
			}
		}
	}
}

// direct checks one import of the package name, and returns the tables' name of it.
func direct(t *testing.T, name, path, may string, test bool) string {
	if other, ok := ours(path); ok {
		if other != name && !matches(may, other) {
			t.Errorf("%s imports %s, which its rule does not allow", name, other)
		}
		return other
	}
	entry, needed := homeOf(path)
	h := homes[entry]
	switch {
	case !needed:
	case entry == "":
		t.Errorf("%s imports %s, which has no entry in homes of helper/arch_test.go", name, path)
	case !matches(h.by, name) && (!test || !matches(h.tests, name)):
		t.Errorf("%s imports %s, whose home is elsewhere: %q", name, path, strings.TrimSpace(h.by+" "+h.tests))
	}
	return path
}

// stale fails for entries that permit or ban something that does not exist.
func (u *uses) stale(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		r := rules[name]
		if u.tests[name] == nil {
			t.Errorf("rules: there is no package %s", name)
		}
		for may := range strings.FieldsSeq(r.may) {
			if !slices.Contains(u.imports[name], may) {
				t.Errorf("rules: %s may import %s, but does not", name, may)
			}
		}
		for may := range strings.FieldsSeq(r.tests) {
			if !slices.Contains(u.tests[name], may) {
				t.Errorf("rules: the tests of %s may import %s, but do not", name, may)
			}
		}
		for never := range strings.FieldsSeq(r.never) {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(rules)), func(other string) bool { return matches(never, other) }) {
				t.Errorf("rules: %s bans %s, which is no package", name, never)
			}
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(homes)) {
		imports := func(of map[string][]string, pattern string) bool {
			for name, paths := range of {
				if matches(pattern, name) && slices.ContainsFunc(paths, func(path string) bool { e, _ := homeOf(path); return e == entry }) {
					return true
				}
			}
			return false
		}
		for by := range strings.FieldsSeq(homes[entry].by) {
			if !imports(u.imports, by) && !imports(u.tests, by) {
				t.Errorf("homes: %s may import %s, but does not", by, entry)
			}
		}
		for by := range strings.FieldsSeq(homes[entry].tests) {
			if !imports(u.tests, by) {
				t.Errorf("homes: the tests of %s may import %s, but do not", by, entry)
			}
		}
	}
}

// TestPackageDocs checks that every package has one package comment. Two would
// contradict each other sooner or later.
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
