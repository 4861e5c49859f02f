package resource

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// Bounds of a list of resources.
const (
	MaxInput     = 1 << 20 // bytes
	MaxResources = 1000
	MaxPorts     = 1024 // in one resource; a range counts as one
	MaxAddresses = 256  // in one resource
	MaxPrograms  = 64   // in one resource

	maxProblems    = 1000
	maxText        = 255  // bytes of a name
	maxDescription = 500  // bytes
	maxExit        = 2048 // bytes of an exit, including where it leads (Via)
	maxProgram     = 64   // bytes of a program's name
	maxDepth       = 16
)

var fieldNames = []string{"name", "host", "ports", "protocols", "addresses", "as", "exit", "resolve", "programs", "description"}

// Parse reads a list of resources: a JSON array that may have comments and trailing
// commas. It returns the entries without mistakes, and every mistake with a path that
// begins with root. Text that is not JSON has no entries. Empty text and null are an
// empty list.
func Parse(root string, data []byte) ([]Resource, []Problem) {
	if len(data) > MaxInput {
		return nil, []Problem{{Path: root, Message: fmt.Sprintf("the list is longer than %d bytes", MaxInput)}}
	}
	p := &parser{src: data, claimed: map[claimKey][]claim{}, names: map[string]string{}}
	list := p.list(root)
	return list, p.result(root)
}

type parser struct {
	src      []byte
	lines    []int // offsets of the line starts, filled on the first problem
	problems []Problem
	count    int // of problems, those over maxProblems included

	names   map[string]string // resource name -> path of the entry
	claimed map[claimKey][]claim
	paths   []string // of the entries that claim ports
}

type claimKey struct {
	host    string
	network Network
}

func (p *parser) report(offset int, path, format string, args ...any) {
	p.count++
	if len(p.problems) >= maxProblems {
		return
	}
	line, column := p.position(offset)
	p.problems = append(p.problems, Problem{Path: path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) result(root string) []Problem {
	if more := p.count - len(p.problems); more > 0 {
		p.problems = append(p.problems, Problem{Path: root, Message: fmt.Sprintf("%d more mistakes", more)})
	}
	return p.problems
}

func (p *parser) position(offset int) (line, column int) {
	if p.lines == nil {
		p.lines = []int{0}
		for i, c := range p.src {
			if c == '\n' {
				p.lines = append(p.lines, i+1)
			}
		}
	}
	offset = min(offset, len(p.src))
	i, found := slices.BinarySearch(p.lines, offset)
	if !found {
		i--
	}
	return i + 1, utf8.RuneCount(p.src[p.lines[i]:offset]) + 1
}

func (p *parser) list(root string) []Resource {
	v, ok, err := p.json(root)
	if !ok {
		return nil
	}
	whole := err == nil
	var out []Resource
	switch list := v.Value.(type) {
	case *hujson.Array:
		out = p.entries(root, list)
	case hujson.Literal:
		if list.Kind() != 'n' {
			p.report(v.StartOffset, root, "must be an array of resources, not %s", kindOf(v))
		}
	case *hujson.Object:
		p.report(v.StartOffset, root, "must be an array of resources, not an object")
	}
	if !whole {
		p.syntax(root, err)
		return nil
	}
	return out
}

// json reads the whole text. ok is false if the text is empty or cannot be read at all.
func (p *parser) json(root string) (v hujson.Value, ok bool, err error) {
	if offset, deep := tooDeep(p.src); deep {
		p.report(offset, root, "nested too deeply")
		return v, false, nil
	}
	// The parser needs a line end after a comment.
	v, err = hujson.Parse(append(slices.Clip(p.src), '\n'))
	return v, err == nil || len(bytes.TrimSpace(p.src)) > 0, err
}

// syntax reports an error of the JSON parser, whose text begins with its position.
func (p *parser) syntax(root string, err error) {
	text := err.Error()
	var line, column int
	_, _ = fmt.Sscanf(text, "hujson: line %d, column %d:", &line, &column)
	if parts := strings.SplitN(text, ": ", 3); len(parts) == 3 {
		text = parts[2]
	}
	p.count++
	p.problems = append(p.problems, Problem{Path: root, Line: line, Column: column, Message: "not valid JSON: " + printable(text)})
}

func (p *parser) entries(root string, list *hujson.Array) []Resource {
	var out []Resource
	for i, v := range list.Elements {
		path := root + "[" + strconv.Itoa(i) + "]"
		if i >= MaxResources {
			p.report(v.StartOffset, path, "there are more than %d resources", MaxResources)
			break
		}
		if r, ok := p.entry(path, v); ok {
			out = append(out, r)
		}
	}
	return out
}

// unique reports a name or a port that an earlier resource has already.
func (p *parser) unique(path string, at int, r Resource) {
	if earlier, ok := p.names[r.Name]; ok {
		p.report(at, path, "the name %s is that of %s too; give one of them another \"name\"", quote(r.Name), earlier)
		return
	}
	p.names[r.Name] = path
	mine := claims(r.Ports, len(p.paths))
	p.paths = append(p.paths, path)
	for _, n := range r.Protocols {
		key := claimKey{r.RemoteHost(), n}
		if port, by := overlap(p.claimed[key], mine); port != 0 {
			p.report(at, path, "%s port %d of %s belongs to %s already", n, port, quote(key.host), p.paths[by])
			return
		}
	}
	for _, n := range r.Protocols {
		key := claimKey{r.RemoteHost(), n}
		all := slices.Concat(p.claimed[key], mine)
		sortClaims(all)
		p.claimed[key] = all
	}
}

// tooDeep guards the recursive parser; it returns where the nesting exceeds maxDepth.
func tooDeep(b []byte) (offset int, ok bool) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '[', '{':
			if depth++; depth > maxDepth {
				return i, true
			}
		case ']', '}':
			depth--
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '/':
			i += skipComment(b[i:])
		}
	}
	return 0, false
}

// skipComment returns the length of the comment at the start of b, minus one.
func skipComment(b []byte) int {
	end := "\n"
	switch {
	case bytes.HasPrefix(b, []byte("/*")):
		end = "*/"
	case !bytes.HasPrefix(b, []byte("//")):
		return 0
	}
	n := bytes.Index(b[2:], []byte(end))
	if n < 0 {
		return len(b)
	}
	return 2 + n + len(end) - 1
}

// quote returns s in quotes, cut, and with all unprintable characters escaped.
func quote(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strconv.Quote(s)
}

func printable(s string) string {
	q := quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// checkText returns why s cannot be shown on one line, or "".
func checkText(s string, limit int) string {
	if len(s) > limit {
		return fmt.Sprintf("is longer than %d bytes", limit)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return fmt.Sprintf("contains the character %U, which cannot be shown", r)
		}
	}
	return ""
}
