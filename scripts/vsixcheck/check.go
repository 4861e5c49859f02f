package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// allowed lists every file that a package may hold besides its helpers.
var allowed = regexp.MustCompile(`^(\[Content_Types\]\.xml|extension\.vsixmanifest|` +
	`extension/(package(\.nls)?\.json|readme\.md|changelog\.md|LICENSE(\.txt)?|NOTICES\.txt|SBOM\.cdx\.json|` +
	`dist/[a-z-]+\.js|(media|images|icons)/[a-z-]+\.(svg|png|css)|schemas/[a-z-]+\.json))$`)

// platforms has Go's name for each target of VS Code that has a helper.
var platforms = map[string]string{
	"linux-x64": "linux/amd64", "linux-arm64": "linux/arm64", "linux-armhf": "linux/arm",
	"darwin-x64": "darwin/amd64", "darwin-arm64": "darwin/arm64",
	"win32-x64": "windows/amd64", "win32-arm64": "windows/arm64",
}

// switches are the environment variables that a bundle may read.
var switches = []string{"CAUSEWAY_HELPER"}

// named matches the names of Causeway's environment variables in a bundle.
var named = regexp.MustCompile(`CAUSEWAY_\w+`)

// maxFile bounds one file of a package, in bytes.
const maxFile = 64 << 20

// vsixManifest has the needed parts of extension.vsixmanifest.
type vsixManifest struct {
	Identity struct {
		ID        string `xml:"Id,attr"`
		Version   string `xml:",attr"`
		Publisher string `xml:",attr"`
		Target    string `xml:"TargetPlatform,attr"`
	} `xml:"Metadata>Identity"`
}

// extensionManifest has the needed parts of package.json.
type extensionManifest struct {
	Name, Publisher, Version, License string
	Main, Browser, Icon               string
	ExtensionKind                     []string
	Scripts                           map[string]string
	Dependencies, DevDependencies     map[string]string
	EnabledAPIProposals               []string `json:"enabledApiProposals"`
}

// checkFile returns a sentence for each fault of a package.
func checkFile(name string) ([]string, error) {
	archive, err := zip.OpenReader(name)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return check(&archive.Reader)
}

func check(archive *zip.Reader) ([]string, error) {
	var vsix vsixManifest
	if err := decode(archive, "extension.vsixmanifest", xml.Unmarshal, &vsix); err != nil {
		return nil, err
	}
	var manifest extensionManifest
	if err := decode(archive, "extension/package.json", json.Unmarshal, &manifest); err != nil {
		return nil, err
	}
	problems := checkManifest(archive, vsix, manifest)
	strange, err := checkBundles(archive, manifest)
	if err != nil {
		return nil, err
	}
	problems = append(problems, strange...)

	notices, err := read(archive, "extension/NOTICES.txt")
	if err != nil {
		problems = append(problems, "lacks NOTICES.txt, the licenses of the code of others")
	}
	var listed map[string]bool
	if err := decode(archive, "extension/SBOM.cdx.json", func(content []byte, _ any) (err error) {
		listed, err = components(content)
		return err
	}, nil); err != nil {
		problems = append(problems, "lacks a bill of materials: "+err.Error())
	}
	wanted := helpersFor(vsix.Identity.Target, slices.Contains(manifest.ExtensionKind, "ui"))
	for _, file := range archive.File {
		if file.Name == companion && manifest.Main != "" && slices.Contains(manifest.ExtensionKind, "ui") {
			inner, err := checkCompanion(archive, manifest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", companion, err)
			}
			problems = append(problems, inner...)
			continue
		}
		platform, ok := wanted[file.Name]
		if !ok {
			if !allowed.MatchString(file.Name) {
				problems = append(problems, "holds "+file.Name+", which it does not run")
			}
			continue
		}
		delete(wanted, file.Name)
		content, err := read(archive, file.Name)
		if err != nil {
			return nil, err
		}
		for _, problem := range checkHelper(content, file.Mode(), platform) {
			problems = append(problems, file.Name+" "+problem)
		}
		for _, part := range unnamed(content, notices) {
			problems = append(problems, file.Name+" has "+part+", which NOTICES.txt does not name")
		}
		if listed == nil {
			continue // said already
		}
		for _, part := range unlisted(content, listed) {
			problems = append(problems, file.Name+" has "+part+", which SBOM.cdx.json does not list")
		}
	}
	for name := range wanted {
		problems = append(problems, "lacks "+name)
	}
	return problems, nil
}

// companion is the extension for the remote in a package of the UI extension, which
// has an entry point for the desktop.
const companion = "extension/companion.vsix"

// checkCompanion returns the faults of the companion in a package: it must be for all
// remotes, and have the version of the package.
func checkCompanion(archive *zip.Reader, outer extensionManifest) ([]string, error) {
	content, err := read(archive, companion)
	if err != nil {
		return nil, err
	}
	inner, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	problems, err := check(inner)
	if err != nil {
		return nil, err
	}
	var vsix vsixManifest
	if err := decode(inner, "extension.vsixmanifest", xml.Unmarshal, &vsix); err != nil {
		return nil, err
	}
	if id := vsix.Identity; id.Version != outer.Version || id.Target != "" {
		problems = append(problems, fmt.Sprintf("is version %s for %q, want %s for all remotes", id.Version, id.Target, outer.Version))
	}
	for i := range problems {
		problems[i] = companion + " " + problems[i]
	}
	return problems, nil
}

func checkManifest(archive *zip.Reader, vsix vsixManifest, m extensionManifest) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	id := vsix.Identity
	if m.Publisher == "" || m.Publisher != id.Publisher || m.Name != id.ID || m.Version != id.Version {
		complain("is %s.%s %s in one manifest and %s.%s %s in the other", id.Publisher, id.ID, id.Version, m.Publisher, m.Name, m.Version)
	}
	if m.License == "" {
		complain("names no license")
	}
	if len(m.ExtensionKind) != 1 || (m.ExtensionKind[0] != "ui" && m.ExtensionKind[0] != "workspace") {
		complain("has extensionKind %q", m.ExtensionKind)
	}
	if len(m.EnabledAPIProposals) > 0 {
		complain("asks for proposed API %q", m.EnabledAPIProposals)
	}
	if len(m.Scripts)+len(m.Dependencies)+len(m.DevDependencies) > 0 {
		complain("has scripts or dependencies in its package.json")
	}
	if m.Main == "" && m.Browser == "" {
		complain("has no entry point")
	}
	for _, entry := range []string{m.Main, m.Browser, m.Icon} {
		if entry == "" {
			continue
		}
		at := path.Join("extension", entry)
		if _, err := fs.Stat(archive, at); err != nil {
			if _, err := fs.Stat(archive, at+".js"); err != nil {
				complain("lacks %s, which its package.json names", entry)
			}
		}
	}
	return problems
}

// checkBundles checks that a package has no code except the entry points, and that
// the code has no entrance for tests.
func checkBundles(archive *zip.Reader, m extensionManifest) (problems []string, err error) {
	entries := []string{path.Join("extension", m.Main), path.Join("extension", m.Browser)}
	if slices.Contains(m.ExtensionKind, "ui") {
		entries = append(entries, "extension/dist/panel.js") // the page of the panel
	}
	for _, file := range archive.File {
		if path.Ext(file.Name) != ".js" {
			continue
		}
		if !slices.Contains(entries, file.Name) {
			problems = append(problems, "holds "+file.Name+", which is no entry point")
		}
		content, err := read(archive, file.Name)
		if err != nil {
			return nil, err
		}
		for _, name := range named.FindAllString(string(content), -1) {
			if !slices.Contains(switches, name) {
				problems = append(problems, file.Name+" knows "+name)
			}
		}
	}
	return problems, nil
}

// helpersFor returns the platform of each helper that a package must hold, by its
// path. A companion without a target is the universal one.
func helpersFor(target string, ui bool) map[string]string {
	var targets []string
	switch {
	case target == "web":
	case target == "" && !ui:
		targets = []string{"linux-x64", "linux-arm64", "linux-armhf"}
	default:
		// Helpers are static, so Alpine runs those of other Linux systems.
		targets = []string{strings.Replace(target, "alpine", "linux", 1)}
	}
	helpers := map[string]string{}
	for _, t := range targets {
		name := "causeway"
		if strings.HasPrefix(t, "win32-") {
			name += ".exe"
		}
		helpers["extension/bin/"+t+"/"+name] = platforms[t]
	}
	return helpers
}

func decode(archive *zip.Reader, name string, unmarshal func([]byte, any) error, into any) error {
	content, err := read(archive, name)
	if err != nil {
		return err
	}
	if err := unmarshal(content, into); err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	return nil
}

func read(archive *zip.Reader, name string) ([]byte, error) {
	file, err := archive.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var content bytes.Buffer
	if n, err := io.Copy(&content, io.LimitReader(file, maxFile+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	} else if n > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, maxFile)
	}
	return content.Bytes(), nil
}
