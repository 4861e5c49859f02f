package programs

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

var builtins = func() map[string]bool {
	set := map[string]bool{}
	for name := range strings.FieldsSeq(`. : [ alias bg break builtin cd command compgen continue declare echo eval exec exit
		export false fg getopts hash jobs kill let local mapfile popd printf pushd pwd read readarray readonly return set
		shift shopt source test time times trap true type ulimit umask unalias unset wait`) {
		set[name] = true
	}
	return set
}()

// declare records the functions of a script, which others may source.
func (w *walk) declare(where, text string) {
	syntax.Walk(w.parse(where, text), func(node syntax.Node) bool {
		if f, ok := node.(*syntax.FuncDecl); ok {
			w.functions[f.Name.Value] = true
		}
		return true
	})
}

func (w *walk) parse(where, text string) *syntax.File {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), where)
	if err != nil {
		w.t.Errorf("%s: %v in\n%s", where, err, text)
		return &syntax.File{}
	}
	return file
}

// scripts walks every possible value of a word as a script.
func (w *walk) scripts(texts word, where string) {
	for _, text := range texts {
		if text != unknown {
			w.shell(where, text)
		}
	}
}

// shell walks a script.
func (w *walk) shell(where, text string) {
	file := w.parse(where, text)
	arrays := map[string][]word{}
	own := map[string]bool{}
	syntax.Walk(file, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.FuncDecl:
			if !w.functions[n.Name.Value] {
				own[n.Name.Value] = true
			}
		case *syntax.Assign:
			if n.Array != nil && n.Name != nil {
				for _, e := range n.Array.Elems {
					arrays[n.Name.Value] = append(arrays[n.Name.Value], word{shellWord(e.Value)})
				}
			}
			if n.Name != nil && n.Name.Value == "GIT_SSH_COMMAND" && n.Value != nil {
				w.scripts(word{shellWord(n.Value)}, where)
			}
		}
		return true
	})
	syntax.Walk(file, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.CallExpr:
			var line []word
			for _, arg := range n.Args {
				if array := arrayOf(arg); array != "" && arrays[array] != nil {
					line = append(line, arrays[array]...)
				} else {
					line = append(line, word{shellWord(arg)})
				}
			}
			if len(line) > 0 && !own[line[0].first()] {
				w.command(line, where)
			}
		case *syntax.Stmt:
			if !readsScript(n.Cmd) {
				break
			}
			for _, redirect := range n.Redirs {
				if redirect.Hdoc != nil {
					w.scripts(word{shellWord(redirect.Hdoc)}, where)
				}
			}
		}
		return true
	})
}

// readsScript reports whether a command is a shell, in whatever namespace, that
// reads its script from its standard input.
func readsScript(cmd syntax.Command) bool {
	call, ok := cmd.(*syntax.CallExpr)
	if !ok {
		return false
	}
	shell := false
	for _, arg := range call.Args {
		switch text := shellWord(arg); {
		case text == "sh" || text == "bash":
			shell = true
		case shell && strings.HasPrefix(text, "-") && strings.Contains(text, "c"):
			return false
		}
	}
	return shell
}

// arrayOf returns the name in a word that is "${name[@]}".
func arrayOf(arg *syntax.Word) string {
	parts := arg.Parts
	if len(parts) == 1 {
		if quoted, ok := parts[0].(*syntax.DblQuoted); ok {
			parts = quoted.Parts
		}
	}
	if len(parts) == 1 {
		if p, ok := parts[0].(*syntax.ParamExp); ok && p.Index != nil {
			return p.Param.Value
		}
	}
	return ""
}

// shellWord returns the value of a word, with unknown in place of expansions.
func shellWord(arg *syntax.Word) string {
	var b strings.Builder
	var add func(parts []syntax.WordPart)
	add = func(parts []syntax.WordPart) {
		for _, part := range parts {
			switch p := part.(type) {
			case *syntax.Lit:
				b.WriteString(p.Value)
			case *syntax.SglQuoted:
				b.WriteString(p.Value)
			case *syntax.DblQuoted:
				add(p.Parts)
			default:
				b.WriteString(unknown)
			}
		}
	}
	if arg == nil {
		return unknown
	}
	add(arg.Parts)
	return b.String()
}
