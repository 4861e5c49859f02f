package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	if err := run(&out, nil, []string{"meta.json"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n@a/one 1.2.3\n------------\n\nlicense of one\n", "\ntwo 4.5.6\n---------\n\nLicense: MIT\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	write("node_modules/two/package.json", `{"name": "two", "version": "4.5.6"}`)
	if err := run(&out, nil, []string{"meta.json"}); err == nil || !strings.Contains(err.Error(), "two 4.5.6: no license") {
		t.Errorf("a part without a license: %v", err)
	}
	write("meta.json", `{}`)
	if err := run(&out, nil, []string{"meta.json"}); err == nil {
		t.Error("a metafile without files was taken")
	}
}

func TestModules(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(&out, []string{self}, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nGo 1.") || !strings.Contains(out.String(), "The Go Authors") {
		t.Error("the standard library has no license")
	}
}
