// Notices writes the licenses of all third-party code in given programs and bundles,
// as the licenses demand for copies.
//
// Usage: notices [-helper FILE]... [-bundle FILE]... [-sbom SBOM.cdx.json] >NOTICES.txt
//
// With -sbom it also lists the parts in a software bill of materials (CycloneDX).
//
// A helper is a Go program: its build information lists its modules. A bundle is the
// metafile of esbuild, which lists the files of node_modules in it. Run it at the root
// of the tree. It fails if the license of a part cannot be found.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// part is third-party code with one license.
type part struct {
	name, version string
	dir           string // has the license files
	npm           bool   // an npm package, not a Go module
	license       string // what the part calls its license; empty if unknown
}

func main() {
	var helpers, bundles []string
	flag.Func("helper", "a Go program", func(s string) error { helpers = append(helpers, s); return nil })
	flag.Func("bundle", "a metafile of esbuild", func(s string) error { bundles = append(bundles, s); return nil })
	sbom := flag.String("sbom", "", "the software bill of materials to write")
	flag.Parse()
	if err := run(os.Stdout, *sbom, helpers, bundles); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// run writes the licenses to w and, if sbom is not empty, a bill of materials to that file.
func run(w io.Writer, sbom string, helpers, bundles []string) error {
	parts, err := collect(helpers, bundles)
	if err != nil {
		return err
	}
	if err := writeNotices(w, parts); err != nil || sbom == "" {
		return err
	}
	file, err := os.Create(sbom)
	if err != nil {
		return err
	}
	return errors.Join(writeSBOM(file, parts), file.Close())
}

// collect returns the parts of programs and bundles, each once, by name and version.
func collect(helpers, bundles []string) ([]part, error) {
	found := make(map[string]part)
	add := func(more []part, err error) error {
		for _, p := range more {
			found[p.String()] = p
		}
		return err
	}
	for _, file := range helpers {
		if err := add(modules(file)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	for _, file := range bundles {
		if err := add(packages(file)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	var parts []part
	for _, key := range slices.Sorted(maps.Keys(found)) {
		parts = append(parts, found[key])
	}
	return parts, nil
}

func (p part) String() string { return p.name + " " + p.version }

func writeNotices(w io.Writer, parts []part) error {
	if _, err := fmt.Fprintf(w, "This package contains code of others. Here are its parts and their licenses.\n"); err != nil {
		return err
	}
	for _, p := range parts {
		text, err := licenses(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if _, err := fmt.Fprintf(w, "\n%s\n%s\n\n%s\n", p, strings.Repeat("-", len(p.String())), text); err != nil {
			return err
		}
	}
	return nil
}

// modules returns the modules of a Go program, and the standard library.
func modules(file string) ([]part, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	root, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	parts := []part{{name: "Go", version: strings.TrimPrefix(info.GoVersion, "go"), dir: strings.TrimSpace(root)}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		dir, err := output("go", "list", "-m", "-f", "{{.Dir}}", m.Path)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{name: m.Path, version: m.Version, dir: strings.TrimSpace(dir)})
	}
	return parts, nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// packages returns the npm packages in a bundle.
func packages(metafile string) ([]part, error) {
	content, err := os.ReadFile(metafile)
	if err != nil {
		return nil, err
	}
	var meta struct {
		Inputs map[string]struct{} `json:"inputs"`
	}
	if err := json.Unmarshal(content, &meta); err != nil {
		return nil, err
	}
	if len(meta.Inputs) == 0 {
		return nil, errors.New("names no files")
	}
	dirs := make(map[string]bool)
	for input := range meta.Inputs {
		if dir := packageOf(input); dir != "" {
			dirs[dir] = true
		}
	}
	var parts []part
	for dir := range dirs {
		content, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			return nil, err
		}
		var p struct{ Name, Version, License string }
		if err := json.Unmarshal(content, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		parts = append(parts, part{name: p.Name, version: p.Version, dir: dir, npm: true, license: p.License})
	}
	return parts, nil
}

// packageOf returns the folder of the npm package that has a file; empty if none has.
func packageOf(file string) string {
	const modules = "node_modules/"
	at := strings.LastIndex(file, modules)
	if at < 0 {
		return ""
	}
	rest := strings.Split(file[at+len(modules):], "/")
	n := 1
	if strings.HasPrefix(rest[0], "@") {
		n = 2
	}
	return file[:at+len(modules)] + path.Join(rest[:min(n, len(rest))]...)
}

// licenseFile matches the names of files that have a license or what it demands to copy.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// licenses returns the texts of a part's license files, or else the license that its
// manifest names.
func licenses(p part) (string, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return "", err
	}
	var texts []string
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenseFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(p.dir, e.Name()))
		if err != nil {
			return "", err
		}
		texts = append(texts, strings.TrimSpace(string(content)))
	}
	switch {
	case len(texts) > 0:
		return strings.Join(texts, "\n\n"), nil
	case p.license != "":
		return "License: " + p.license, nil
	}
	return "", errors.New("no license file, and no license in its manifest")
}
