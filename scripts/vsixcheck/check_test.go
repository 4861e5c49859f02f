package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// build compiles a program of one line for a platform.
func build(t *testing.T, goos, goarch string) []byte {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "causeway")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, source)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

type entry struct {
	content string
	mode    fs.FileMode
}

// zipped returns an archive of files.
func zipped(t *testing.T, files map[string]entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, e := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(e.mode)
		f, err := w.CreateHeader(header)
		if err == nil {
			_, err = f.Write([]byte(e.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archive(t *testing.T, files map[string]entry) *zip.Reader {
	t.Helper()
	b := zipped(t, files)
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	sbomName  = "extension/SBOM.cdx.json"
	emptySBOM = `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}`
)

func TestCheck(t *testing.T) {
	linux := string(build(t, "linux", "amd64"))
	version := strings.TrimPrefix(runtime.Version(), "go")
	const vsix = `<PackageManifest><Metadata><Identity Id="a" Version="1.0.0" Publisher="p" TargetPlatform="linux-x64"/></Metadata></PackageManifest>`
	const manifest = `{"name":"a","publisher":"p","version":"1.0.0","license":"Apache-2.0","extensionKind":["ui"],"main":"./dist/ui.js"}`
	tests := map[string]struct {
		change map[string]entry
		want   string // of the one problem; empty: none
	}{
		"good":           {nil, ""},
		"extra file":     {map[string]entry{"extension/src/ui.ts": {"x", 0o644}}, "src/ui.ts"},
		"another entry":  {map[string]entry{"extension/dist/entry.js": {"x", 0o644}}, "holds extension/dist/entry.js, which is no entry point"},
		"a back door":    {map[string]entry{"extension/dist/ui.js": {"a(process.env.CAUSEWAY_LAB_FORWARD);b(process.env.CAUSEWAY_HELPER)", 0o644}}, "ui.js knows CAUSEWAY_LAB_FORWARD"},
		"no entry point": {map[string]entry{"extension/package.json": {strings.ReplaceAll(manifest, `"main":"./dist/ui.js"`, `"main":"./dist/ui.js","browser":"./dist/other.js"`), 0o644}}, "lacks ./dist/other.js"},
		"no publisher":   {map[string]entry{"extension/package.json": {strings.ReplaceAll(manifest, `"p"`, `""`), 0o644}}, "in the other"},
		"scripts":        {map[string]entry{"extension/package.json": {strings.Replace(manifest, "{", `{"scripts":{"x":"y"},`, 1), 0o644}}, "scripts"},
		"not executable": {map[string]entry{"extension/bin/linux-x64/causeway": {linux, 0o644}}, "not executable"},
		"for the web":    {map[string]entry{"extension.vsixmanifest": {strings.ReplaceAll(vsix, "linux-x64", "web"), 0o644}}, "holds extension/bin/linux-x64/causeway"},
		"a second one":   {map[string]entry{"extension/bin/linux-arm64/causeway": {linux, 0o755}}, "holds extension/bin/linux-arm64/causeway"},
		"other platform": {map[string]entry{"extension/bin/linux-x64/causeway": {string(build(t, "linux", "arm64")), 0o755}}, "is for linux/arm64"},
		"too large":      {map[string]entry{"extension/bin/linux-x64/causeway": {linux + strings.Repeat("\x00", largest), 0o755}}, "more than"},
		"no binary":      {map[string]entry{"extension/bin/linux-x64/causeway": {"#!/bin/sh", 0o755}}, "is no Go binary"},
		"no license":     {map[string]entry{"extension/NOTICES.txt": {"The parts:\n\nGo 0.9\n------\n", 0o644}}, "which NOTICES.txt does not name"},
		"not listed":     {map[string]entry{sbomName: {emptySBOM, 0o644}}, "which SBOM.cdx.json does not list"},
		"no list":        {map[string]entry{sbomName: {`{"components":[]}`, 0o644}}, "is not CycloneDX"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := map[string]entry{
				"extension.vsixmanifest":           {vsix, 0o644},
				"extension/package.json":           {manifest, 0o644},
				"extension/dist/ui.js":             {"x", 0o644},
				"extension/bin/linux-x64/causeway": {linux, 0o755},
				"extension/NOTICES.txt":            {fmt.Sprintf("The parts:\n\nGo %s\n------\n", version), 0o644},
				sbomName:                           {fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"Go","version":"%s"}]}`, version), 0o644},
			}
			maps.Copy(files, test.change)
			problems, err := check(archive(t, files))
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if len(problems) > 0 {
					t.Errorf("problems: %q", problems)
				}
			} else if len(problems) != 1 || !strings.Contains(problems[0], test.want) {
				t.Errorf("problems: %q, want one with %q", problems, test.want)
			}
		})
	}
}

// A companion in a package is checked too.
func TestCompanion(t *testing.T) {
	inner := func(version string) string {
		return string(zipped(t, map[string]entry{
			"extension.vsixmanifest":   {fmt.Sprintf(`<PackageManifest><Metadata><Identity Id="r" Version="%s" Publisher="p"/></Metadata></PackageManifest>`, version), 0o644},
			"extension/package.json":   {fmt.Sprintf(`{"name":"r","publisher":"p","version":"%s","license":"Apache-2.0","extensionKind":["workspace"],"main":"./dist/remote.js"}`, version), 0o644},
			"extension/dist/remote.js": {"x", 0o644},
			"extension/NOTICES.txt":    {"", 0o644},
			sbomName:                   {emptySBOM, 0o644},
		}))
	}
	outer := func(companion string) map[string]entry {
		return map[string]entry{
			"extension.vsixmanifest":   {`<PackageManifest><Metadata><Identity Id="a" Version="1.0.0" Publisher="p" TargetPlatform="web"/></Metadata></PackageManifest>`, 0o644},
			"extension/package.json":   {`{"name":"a","publisher":"p","version":"1.0.0","license":"Apache-2.0","extensionKind":["ui"],"main":"./dist/ui.js"}`, 0o644},
			"extension/dist/ui.js":     {"x", 0o644},
			"extension/NOTICES.txt":    {"", 0o644},
			sbomName:                   {emptySBOM, 0o644},
			"extension/companion.vsix": {companion, 0o644},
		}
	}
	for version, want := range map[string]string{"1.0.0": "lacks extension/bin/", "0.9.0": "is version 0.9.0"} {
		problems, err := check(archive(t, outer(inner(version))))
		if err != nil || !strings.Contains(strings.Join(problems, "\n"), "extension/companion.vsix "+want) {
			t.Errorf("%s: %q, %v, want %q", version, problems, err, want)
		}
	}
	if _, err := check(archive(t, outer("no archive"))); err == nil {
		t.Error("a companion that is no package passes")
	}
}

func TestSignature(t *testing.T) {
	content := build(t, "darwin", "arm64")
	if problems := checkHelper(content, 0o755, "darwin/arm64"); len(problems) > 0 {
		t.Fatalf("as the linker left it: %q", problems)
	}
	content[bytes.Index(content, []byte("runtime."))]++
	if err := checkSignature(content); err == nil {
		t.Error("a changed byte passes")
	}
	if err := checkSignature(build(t, "darwin", "amd64")); err == nil {
		t.Error("an unsigned binary passes")
	}
}

func TestHelpersFor(t *testing.T) {
	for _, test := range []struct {
		target string
		ui     bool
		want   map[string]string
	}{
		{"linux-armhf", true, map[string]string{"extension/bin/linux-armhf/causeway": "linux/arm"}},
		{"alpine-arm64", false, map[string]string{"extension/bin/linux-arm64/causeway": "linux/arm64"}},
		{"win32-arm64", true, map[string]string{"extension/bin/win32-arm64/causeway.exe": "windows/arm64"}},
		{"web", true, map[string]string{}},
		{"", false, map[string]string{
			"extension/bin/linux-x64/causeway":   "linux/amd64",
			"extension/bin/linux-arm64/causeway": "linux/arm64",
			"extension/bin/linux-armhf/causeway": "linux/arm",
		}},
	} {
		if diff := cmp.Diff(test.want, helpersFor(test.target, test.ui)); diff != "" {
			t.Errorf("helpersFor(%q, %v) (-want +got):\n%s", test.target, test.ui, diff)
		}
	}
}
