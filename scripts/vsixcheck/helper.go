package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// largest bounds the bytes of a helper. One import can add megabytes: a program
// that reaches text/template keeps the methods of every type.
const largest = 15 << 20

// checkHelper returns the faults of a helper for platform, a GOOS/GOARCH.
func checkHelper(content []byte, mode fs.FileMode, platform string) (problems []string) {
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return []string{"is no Go binary: " + err.Error()}
	}
	if len(content) > largest {
		problems = append(problems, fmt.Sprintf("has %d bytes, more than %d", len(content), largest))
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if is := settings["GOOS"] + "/" + settings["GOARCH"]; is != platform {
		problems = append(problems, "is for "+is)
	}
	if settings["CGO_ENABLED"] != "0" {
		problems = append(problems, "was built with cgo")
	}
	if settings["-trimpath"] != "true" {
		problems = append(problems, "names paths of the machine that built it")
	}
	switch settings["GOOS"] {
	case "linux":
		problems = append(problems, checkELF(content)...)
	case "darwin":
		if err := checkSignature(content); err != nil && settings["GOARCH"] == "arm64" {
			problems = append(problems, "would not start on a Mac: "+err.Error())
		}
	}
	if settings["GOOS"] != "windows" && mode&0o111 == 0 {
		problems = append(problems, "is not executable")
	}
	return problems
}

// checkELF checks that a binary runs on musl and on glibc.
func checkELF(content []byte) []string {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return []string{"is damaged: " + err.Error()}
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return []string{"is not static"}
		}
	}
	return nil
}

// These are from Apple's cs_blobs.h; everything is big-endian.
const (
	loadCodeSignature  = 0x1d
	magicSuperBlob     = 0xfade0cc0
	magicCodeDirectory = 0xfade0c02
	hashSHA256         = 2
)

// checkSignature checks that the binary has the linker's signature over its present
// bytes. Any later change of the binary breaks that signature.
func checkSignature(content []byte) error {
	file, err := macho.NewFile(bytes.NewReader(content))
	if err != nil {
		return err
	}
	for _, load := range file.Loads {
		raw := load.Raw()
		if len(raw) < 16 || file.ByteOrder.Uint32(raw) != loadCodeSignature {
			continue
		}
		start := uint64(file.ByteOrder.Uint32(raw[8:]))
		end := start + uint64(file.ByteOrder.Uint32(raw[12:]))
		if end > uint64(len(content)) {
			return errors.New("its signature lies outside of it")
		}
		return checkSuperBlob(content, content[start:end])
	}
	return errors.New("it is not signed")
}

func checkSuperBlob(content, blob []byte) error {
	if len(blob) < 12 || binary.BigEndian.Uint32(blob) != magicSuperBlob {
		return errors.New("its signature is none")
	}
	for i := range binary.BigEndian.Uint32(blob[8:]) {
		entry := 12 + 8*uint64(i)
		if entry+8 > uint64(len(blob)) {
			break
		}
		offset := uint64(binary.BigEndian.Uint32(blob[entry+4:]))
		if offset+44 <= uint64(len(blob)) && binary.BigEndian.Uint32(blob[offset:]) == magicCodeDirectory {
			return checkPages(content, blob[offset:])
		}
	}
	return errors.New("its signature has no code directory")
}

// checkPages compares the hash of every page with the code directory's.
func checkPages(content, directory []byte) error {
	be := binary.BigEndian
	hashes, slots, limit := uint64(be.Uint32(directory[16:])), uint64(be.Uint32(directory[28:])), uint64(be.Uint32(directory[32:]))
	if directory[36] != sha256.Size || directory[37] != hashSHA256 {
		return fmt.Errorf("its signature uses hash %d", directory[37])
	}
	page := uint64(1) << directory[39]
	if limit > uint64(len(content)) || slots != (limit+page-1)/page || hashes+slots*sha256.Size > uint64(len(directory)) {
		return errors.New("its signature is of another size")
	}
	for i := range slots {
		sum := sha256.Sum256(content[i*page : min((i+1)*page, limit)])
		if at := hashes + i*sha256.Size; !bytes.Equal(sum[:], directory[at:at+sha256.Size]) {
			return fmt.Errorf("page %d is not the one that was signed", i)
		}
	}
	return nil
}

// unnamed returns the parts of a helper that are not among the headings of notices,
// which scripts/notices wrote.
func unnamed(helper, notices []byte) (parts []string) {
	for _, part := range partsOf(helper) {
		if !bytes.Contains(notices, []byte("\n"+part+"\n---")) {
			parts = append(parts, part)
		}
	}
	return parts
}

// unlisted returns the parts of a helper that are not in a software bill of materials.
func unlisted(helper []byte, listed map[string]bool) (parts []string) {
	for _, part := range partsOf(helper) {
		if !listed[part] {
			parts = append(parts, part)
		}
	}
	return parts
}

// partsOf returns name and version of each module in a helper, and of Go; nothing for
// a file that is no helper, of which checkHelper complains.
func partsOf(helper []byte) []string {
	info, err := buildinfo.Read(bytes.NewReader(helper))
	if err != nil {
		return nil
	}
	parts := []string{"Go " + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, m.Path+" "+m.Version)
	}
	return parts
}

// components returns name and version of each part in a bill of materials of CycloneDX.
func components(content []byte) (map[string]bool, error) {
	var bom struct {
		Format     string `json:"bomFormat"`
		Spec       string `json:"specVersion"`
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		return nil, err
	}
	if bom.Format != "CycloneDX" || bom.Spec == "" {
		return nil, errors.New("is not CycloneDX")
	}
	listed := make(map[string]bool, len(bom.Components))
	for _, c := range bom.Components {
		listed[c.Name+" "+c.Version] = true
	}
	return listed, nil
}
