package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackageOf(t *testing.T) {
	for file, want := range map[string]string{
		"extension/ui/src/app.ts":                   "",
		"node_modules/yaml/dist/index.js":           "node_modules/yaml",
		"node_modules/@a/b/lib/c.js":                "node_modules/@a/b",
		"node_modules/x/node_modules/y/z/index.mjs": "node_modules/x/node_modules/y",
	} {
		if got := packageOf(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

// This test's own program has modules of the tree.
func TestRun(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("node_modules/@a/one/package.json", `{"name": "@a/one", "version": "1.2.3"}`)
	write("node_modules/@a/one/LICENSE.md", "license of one\n")
	write("node_modules/two/package.json", `{"name": "two", "version": "4.5.6", "license": "MIT"}`)
	write("meta.json", `{"inputs": {"src/a.ts": {}, "node_modules/@a/one/x.js": {}, "node_modules/two/y.js": {}}}`)
	var out bytes.Buffer
	const sbom = "SBOM.cdx.json"
	if err := run(&out, sbom, nil, []string{"meta.json"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n@a/one 1.2.3\n------------\n\nlicense of one\n", "\ntwo 4.5.6\n---------\n\nLicense: MIT\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	content, err := os.ReadFile(sbom)
	if err != nil {
		t.Fatal(err)
	}
	var list bom
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	want := bom{"CycloneDX", "1.6", 1, []component{
		{"library", "@a/one", "1.2.3", "pkg:npm/%40a/one@1.2.3"},
		{"library", "two", "4.5.6", "pkg:npm/two@4.5.6"},
	}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	write("node_modules/two/package.json", `{"name": "two", "version": "4.5.6"}`)
	if err := run(&out, sbom, nil, []string{"meta.json"}); err == nil || !strings.Contains(err.Error(), "two 4.5.6: no license") {
		t.Errorf("a part without a license: %v", err)
	}
	write("meta.json", `{}`)
	if err := run(&out, sbom, nil, []string{"meta.json"}); err == nil {
		t.Error("a metafile without files was taken")
	}
}

func TestModules(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(&out, "", []string{self}, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nGo 1.") || !strings.Contains(out.String(), "The Go Authors") {
		t.Error("the standard library has no license")
	}
}

func TestPURL(t *testing.T) {
	for want, p := range map[string]part{
		"pkg:golang/std@1.26.8":                   {name: "Go", version: "1.26.8"},
		"pkg:golang/github.com/a/b/v2@v2.0.0%2Bx": {name: "github.com/a/b/v2", version: "v2.0.0+x"},
		"pkg:npm/%40a/b@1.0.0":                    {name: "@a/b", version: "1.0.0", npm: true},
	} {
		if got := purl(p); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}
