package main

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"
)

// bom is a software bill of materials in CycloneDX 1.6. It has no date and no serial
// number, so that equal parts give equal files.
type bom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Components []component `json:"components"`
}

// component is one part of a bom.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// writeSBOM lists the parts in their order.
func writeSBOM(w io.Writer, parts []part) error {
	list := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: make([]component, 0, len(parts))}
	for _, p := range parts {
		list.Components = append(list.Components, component{"library", p.name, p.version, purl(p)})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(list)
}

// purl returns the package URL of a part. The standard library is "std" there.
func purl(p part) string {
	kind, name := "golang", p.name
	switch {
	case p.npm:
		kind = "npm"
	case name == "Go":
		name = "std"
	}
	var steps []string
	for step := range strings.SplitSeq(name, "/") {
		steps = append(steps, strings.ReplaceAll(url.PathEscape(step), "@", "%40"))
	}
	return "pkg:" + kind + "/" + strings.Join(steps, "/") + "@" + strings.ReplaceAll(url.PathEscape(p.version), "+", "%2B")
}
