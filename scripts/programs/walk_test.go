package programs

import (
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unknown replaces the parts of a string that the walk cannot know.
const unknown = "\uFFFC"

// word has the possible values of one argument.
type word []string

func words(texts ...string) []word {
	all := make([]word, len(texts))
	for i, text := range texts {
		all[i] = word{text}
	}
	return all
}

// walk collects the executed programs and the files that execute them.
type walk struct {
	t         *testing.T
	uses      map[string][]string
	functions map[string]bool // of the shell scripts
	depth     int
}

func newWalk(t *testing.T) *walk {
	return &walk{t: t, uses: map[string][]string{}, functions: map[string]bool{}}
}

func (w *walk) use(program, where string) {
	if !slices.Contains(w.uses[program], where) {
		w.uses[program] = append(w.uses[program], where)
	}
}

// wrapper describes how a program executes its arguments.
type wrapper struct {
	options string // one letter for each option that has an argument of its own
	skip    int    // arguments before the command
	script  bool   // the arguments are text for a shell
}

var wrappers = map[string]wrapper{
	"as_root": {}, // of scripts/lib/install.sh
	"cloud":   {}, // of the lab: enters a host
	"laptop":  {},
	"command": {},
	"env":     {options: "uC"},
	"exec":    {options: "a"},
	"flock":   {options: "w", skip: 1},
	"ip":      {}, // for "ip netns exec"
	"nice":    {options: "n"},
	"nohup":   {},
	"setpriv": {},
	"setsid":  {},
	"ssh":     {options: "Fiolp", skip: 1, script: true},
	"strace":  {options: "eoPp"},
	"sudo":    {options: "ug"},
	"time":    {},
	"timeout": {options: "ks", skip: 1},
	"unshare": {},
	"xargs":   {options: "nPLIdsE"},
}

// name returns the program that a word names, or "" if the word is a file of this
// tree or unknown.
func name(text string) string {
	base := path.Base(text)
	switch {
	case text == "" || strings.Contains(base, unknown):
		return ""
	case !strings.Contains(text, "/"),
		strings.HasPrefix(text, "/bin/"), strings.HasPrefix(text, "/sbin/"), strings.HasPrefix(text, "/usr/"),
		strings.HasPrefix(text, unknown), strings.Contains(text, "node_modules/.bin/"):
		return base
	}
	return ""
}

var assignment = regexp.MustCompile(`^[A-Za-z_]\w*=`)

// command takes a command line apart.
func (w *walk) command(line []word, where string) {
	if len(line) == 0 || w.depth > 20 {
		return
	}
	w.depth++
	defer func() { w.depth-- }()
	for _, text := range line[0] {
		program := name(text)
		if program == "" || w.functions[program] && wrappers[program] == (wrapper{}) && program != "as_root" {
			// A program of this tree may execute the words after "--".
			if at := slices.IndexFunc(line, is("--")); at >= 0 {
				w.command(line[at+1:], where)
			}
			continue
		}
		if !w.functions[program] && !builtins[program] {
			w.use(program, where)
		}
		w.arguments(program, line[1:], where)
	}
}

// arguments walks the commands in the arguments of a program.
func (w *walk) arguments(program string, rest []word, where string) {
	switch program {
	case "sh", "bash":
		for i := 0; i < len(rest) && strings.HasPrefix(rest[i].first(), "-"); i++ {
			option := rest[i].first()
			if strings.HasPrefix(option, "--") {
				continue
			}
			if strings.Contains(option, "c") && i+1 < len(rest) {
				w.scripts(rest[i+1], where)
				// A script that executes "$@" has it after the name that it gives itself.
				if i+3 < len(rest) && strings.Contains(rest[i+1].first(), `"$@"`) {
					w.command(rest[i+3:], where)
				}
				return
			}
			if strings.HasSuffix(option, "o") {
				i++
			}
		}
		return
	case "trap", "eval":
		if len(rest) > 0 && rest[0].first() != "-" {
			w.scripts(rest[0], where)
		}
		return
	case "script": // -qfec COMMAND
		if len(rest) > 1 && strings.HasSuffix(rest[0].first(), "c") {
			w.scripts(rest[1], where)
		}
		return
	case "find":
		if at := slices.IndexFunc(rest, is("-exec")); at >= 0 {
			w.command(rest[at+1:], where)
		}
		return
	case "ip":
		if len(rest) > 3 && rest[0].first() == "netns" && rest[1].first() == "exec" {
			w.command(rest[3:], where)
		}
		return
	}
	wrap, ok := wrappers[program]
	if !ok {
		return
	}
	skip := wrap.skip
	for len(rest) > 0 {
		text := rest[0].first()
		switch {
		case text == "--":
			skip = 0
		case strings.HasPrefix(text, "-") && len(text) == 2 && strings.Contains(wrap.options, text[1:]):
			rest = rest[min(1, len(rest)-1):]
		case strings.HasPrefix(text, "-"), program == "env" && assignment.MatchString(text):
		case skip > 0:
			skip--
		case wrap.script:
			for _, remote := range rest[:1] {
				w.scripts(remote, where)
			}
			return
		default:
			w.command(rest, where)
			return
		}
		rest = rest[1:]
	}
}

func (w word) first() string {
	if len(w) == 0 {
		return unknown
	}
	return w[0]
}

func is(text string) func(word) bool {
	return func(w word) bool { return w.first() == text }
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// manifest walks the scripts of a package.json.
func (w *walk) manifest(where, text string) {
	var manifest struct{ Scripts map[string]string }
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		w.t.Errorf("%s: %v", where, err)
	}
	for _, script := range manifest.Scripts {
		w.shell(where, script)
	}
}

var (
	childProcess = regexp.MustCompile(`\b(?:spawn|spawnSync|execFile|execFileSync)\(\s*([^,()]+(?:\([^()]*\))?)\s*(?:,\s*\[([^\]]*)\])?`)
	shellOnHost  = regexp.MustCompile("\\b(?:cloud|must|meanwhile)\\(\\s*(`[^`]*`|'(?:[^'\\\\]|\\\\.)*')")
	element      = regexp.MustCompile("`[^`]*`|'(?:[^'\\\\]|\\\\.)*'|[^,\\s][^,]*")
	inserted     = regexp.MustCompile(`\$\{[^}]*\}`)
)

// javaScript walks the calls of node:child_process, and the scripts for a host
// of the lab (test/e2e/browser/world.mjs).
func (w *walk) javaScript(where, text string) {
	for _, call := range childProcess.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, "node:child_process") {
			break
		}
		line := words(literal(call[1]))
		for _, argument := range element.FindAllString(call[2], -1) {
			line = append(line, word{literal(argument)})
		}
		if line[0].first() == unknown && len(line) > 1 {
			// Other programs whose name is unknown are built by this tree; the
			// script of a host executes its arguments.
			if strings.HasSuffix(strings.TrimSpace(call[1]), ".exec") {
				line = line[1:]
			}
		}
		w.command(line, where)
	}
	for _, call := range shellOnHost.FindAllStringSubmatch(text, -1) {
		w.scripts(word{literal(call[1])}, where)
	}
}

// literal returns the value of a JavaScript literal, with unknown for insertions and
// for other expressions.
func literal(expression string) string {
	expression = strings.TrimSpace(expression)
	switch {
	case len(expression) < 2:
		return unknown
	case expression[0] == '"' && expression[len(expression)-1] == '"':
		return expression[1 : len(expression)-1]
	case expression[0] == '\'' && expression[len(expression)-1] == '\'':
		return strings.NewReplacer(`\'`, "'", `\n`, "\n", `\\`, `\`).Replace(expression[1 : len(expression)-1])
	case expression[0] == '`' && expression[len(expression)-1] == '`':
		return strings.ReplaceAll(inserted.ReplaceAllString(expression[1:len(expression)-1], unknown), `\\`, `\`)
	}
	return unknown
}
