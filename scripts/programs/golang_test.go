package programs

import (
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"iter"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is an expression whose value a variable or a field takes.
type source struct {
	expr ast.Expr
	how  kind
	n    int // the number of the result of a call
}

type kind int

const (
	whole    kind = iota
	elements      // each element of expr
	keys          // each key of expr
	result        // result n of the call expr
)

// parameter names the function of a parameter, and its position.
type parameter struct {
	of       any // *types.Func, or the variable that holds a function literal
	n        int
	variadic bool
}

// goCode is one package and the flow of its values, without regard to order.
type goCode struct {
	w       *walk
	info    types.Info
	sources map[types.Object][]source
	params  map[types.Object]parameter
	results map[any][][]ast.Expr // of functions: the values of each return
	calls   map[any][]*ast.CallExpr
	bound   map[types.Object][]word   // the present value of a slice, see bind
	partial map[types.Object][][]word // the lists found so far for active objects
	active  map[any]bool              // objects that are being resolved, against circles
}

// noImports makes every import an empty package. The walk knows only the package itself.
type noImports struct{}

func (noImports) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// goPackage walks the files of one folder that are built for Linux, including tests.
func (w *walk) goPackage(names []string) {
	context := build.Default
	context.GOOS, context.GOARCH = "linux", "amd64"
	fset := token.NewFileSet()
	byName := map[string][]*ast.File{}
	where := map[*ast.File]string{}
	for _, name := range names {
		full := filepath.Join(root, name)
		if ok, err := context.MatchFile(filepath.Dir(full), filepath.Base(full)); err != nil || !ok {
			continue
		}
		file, err := parser.ParseFile(fset, full, nil, parser.SkipObjectResolution)
		if err != nil {
			w.t.Fatal(err)
		}
		byName[file.Name.Name] = append(byName[file.Name.Name], file)
		where[file] = name
	}
	for _, files := range byName {
		g := goCode{w: w, sources: map[types.Object][]source{}, params: map[types.Object]parameter{},
			results: map[any][][]ast.Expr{}, calls: map[any][]*ast.CallExpr{}, active: map[any]bool{}, bound: map[types.Object][]word{}, partial: map[types.Object][][]word{}}
		g.info = types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
			Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
		// The package has type errors without its imports, but its own objects are known.
		conf := types.Config{Importer: noImports{}, Error: func(error) {}, FakeImportC: true}
		_, _ = conf.Check(names[0], fset, files, &g.info)
		for _, file := range files {
			ast.Inspect(file, g.collect)
		}
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					g.sink(call, where[file])
				}
				return true
			})
		}
	}
}

// sink walks the command line of a call that executes a program.
func (g *goCode) sink(call *ast.CallExpr, where string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	x, _ := selector.X.(*ast.Ident)
	first := -1
	switch name := selector.Sel.Name; {
	case x != nil && x.Name == "exec" && (name == "Command" || name == "LookPath"):
		first = 0
	case name == "CommandContext", name == "Command": // Command is a method of lab.Host
		first = 1
	case name == "CommandAs":
		first = 2
	}
	if first < 0 || len(call.Args) <= first {
		return
	}
	args := call.Args[first:]
	for range g.bind(args[0]) {
		for _, line := range g.arguments(args, call.Ellipsis.IsValid()) {
			g.w.command(line, where)
		}
	}
}

// bind handles command lines that begin with argv[0]. It yields once for each
// possible value of argv, so that later uses of argv have the same value.
func (g *goCode) bind(program ast.Expr) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		index, ok := program.(*ast.IndexExpr)
		if !ok || literalOf(index.Index) != "0" || g.object(index.X) == nil {
			yield(struct{}{})
			return
		}
		o := g.object(index.X)
		defer delete(g.bound, o)
		for _, list := range g.lists(index.X) {
			g.bound[o] = list
			if !yield(struct{}{}) {
				return
			}
			delete(g.bound, o)
		}
	}
}

// arguments returns the possible lists of arguments.
func (g *goCode) arguments(args []ast.Expr, spread bool) [][]word {
	var line []word
	for i, arg := range args {
		if spread && i == len(args)-1 {
			var all [][]word
			for _, rest := range g.lists(arg) {
				all = append(all, slices.Concat(line, rest))
			}
			if len(all) == 0 {
				all = append(all, line)
			}
			return all
		}
		line = append(line, g.strings(arg))
	}
	return [][]word{line}
}

// object returns the variable, field or function of this package that an expression
// names, or nil.
func (g *goCode) object(e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		if o := g.info.Uses[e]; o != nil {
			return o
		}
		return g.info.Defs[e]
	case *ast.SelectorExpr:
		if s := g.info.Selections[e]; s != nil {
			return s.Obj()
		}
		return g.info.Uses[e.Sel]
	}
	return nil
}

func (g *goCode) flow(to ast.Expr, from source) {
	if o := g.object(to); o != nil {
		g.sources[o] = append(g.sources[o], from)
	}
}

func (g *goCode) collect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		of := g.info.Defs[n.Name]
		g.function(of, n.Type, n.Body)
		if n.Name.Name == "Command" || n.Name.Name == "CommandAs" {
			// Each call of these methods of lab.Host is a sink itself.
			maps.DeleteFunc(g.params, func(_ types.Object, p parameter) bool { return p.of == of })
		}
	case *ast.ValueSpec:
		lhs := make([]ast.Expr, len(n.Names))
		for i, name := range n.Names {
			lhs[i] = name
		}
		g.assign(lhs, n.Values)
	case *ast.AssignStmt:
		g.assign(n.Lhs, n.Rhs)
	case *ast.RangeStmt:
		if n.Key != nil {
			g.flow(n.Key, source{n.X, keys, 0})
		}
		if n.Value != nil {
			g.flow(n.Value, source{n.X, elements, 0})
		}
	case *ast.CompositeLit:
		g.fields(n)
	case *ast.CallExpr:
		if o := g.object(n.Fun); o != nil {
			g.calls[o] = append(g.calls[o], n)
		}
	}
	return true
}

func (g *goCode) assign(lhs, rhs []ast.Expr) {
	for i, to := range lhs {
		switch {
		case len(rhs) == len(lhs):
			g.flow(to, source{rhs[i], whole, 0})
			if lit, ok := rhs[i].(*ast.FuncLit); ok {
				g.function(g.object(to), lit.Type, lit.Body)
			}
		case len(rhs) == 1:
			g.flow(to, source{rhs[0], result, i})
		}
	}
}

// function records the parameters and the results of a function.
func (g *goCode) function(of types.Object, t *ast.FuncType, body *ast.BlockStmt) {
	if of == nil || body == nil {
		return
	}
	n := 0
	for _, field := range t.Params.List {
		_, variadic := field.Type.(*ast.Ellipsis)
		for _, name := range field.Names {
			if o := g.info.Defs[name]; o != nil {
				g.params[o] = parameter{of, n, variadic}
			}
			n++
		}
		if len(field.Names) == 0 {
			n++
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			g.results[of] = append(g.results[of], n.Results)
		}
		return true
	})
}

// fields records the values that a composite literal gives to fields of a struct.
func (g *goCode) fields(lit *ast.CompositeLit) {
	t := g.info.Types[lit].Type
	if t == nil {
		return
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for i, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			g.flow(kv.Key, source{kv.Value, whole, 0})
		} else if i < s.NumFields() {
			g.sources[s.Field(i)] = append(g.sources[s.Field(i)], source{e, whole, 0})
		}
	}
}

const most = 400 // possible values of one expression

// strings returns the possible values of a string expression.
func (g *goCode) strings(e ast.Expr) word {
	if v := g.info.Types[e].Value; v != nil && v.Kind() == constant.String {
		return word{constant.StringVal(v)}
	}
	var all word
	switch e := ast.Unparen(e).(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return word{text}
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return join("", g.strings(e.X), g.strings(e.Y))
		}
	case *ast.IndexExpr:
		n, err := strconv.Atoi(literalOf(e.Index))
		for _, list := range g.lists(e.X) {
			switch {
			case err != nil:
				for _, each := range list {
					all = append(all, each...)
				}
			case n < len(list):
				all = append(all, list[n]...)
			}
		}
	case *ast.CallExpr:
		all = g.call(e)
	case *ast.Ident, *ast.SelectorExpr:
		all = g.named(g.object(e))
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 0 {
		return word{unknown}
	}
	return all[:min(len(all), most)]
}

func literalOf(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok {
		return lit.Value
	}
	return ""
}

// join returns every combination of the parts.
func join(separator string, parts ...word) word {
	all := word{""}
	for i, part := range parts {
		var next word
		for _, left := range all {
			for _, right := range part {
				if i > 0 {
					right = separator + right
				}
				if len(next) < most {
					next = append(next, left+right)
				}
			}
		}
		all = next
	}
	return all
}

var verb = regexp.MustCompile(`%(%|[-+# 0-9.]*(?:\[\d+\])?[a-zA-Z])`)

// call returns the possible first results of a call.
func (g *goCode) call(e *ast.CallExpr) (all word) {
	if selector, ok := e.Fun.(*ast.SelectorExpr); ok && len(e.Args) > 0 {
		if x, ok := selector.X.(*ast.Ident); ok {
			switch x.Name + "." + selector.Sel.Name {
			case "fmt.Sprintf":
				for _, format := range g.strings(e.Args[0]) {
					n := 0
					all = append(all, verb.ReplaceAllStringFunc(format, func(v string) string {
						n++
						switch {
						case v == "%%":
							n--
							return "%"
						case !strings.Contains(v, "[") && n < len(e.Args):
							return g.strings(e.Args[n]).first()
						}
						return unknown
					}))
				}
				return all
			case "filepath.Join":
				var parts []word
				for _, arg := range e.Args {
					parts = append(parts, g.strings(arg))
				}
				return join("/", parts...)
			case "strings.Join":
				for _, list := range g.lists(e.Args[0]) {
					all = append(all, join(g.strings(e.Args[1]).first(), list...)...)
				}
				return all
			case "strings.TrimSpace":
				return g.strings(e.Args[0])
			}
		}
	}
	return g.returned(e, 0)
}

func (g *goCode) returned(e *ast.CallExpr, n int) (all word) {
	o := g.object(e.Fun)
	g.once(o, func() {
		for _, values := range g.results[o] {
			if n < len(values) {
				all = append(all, g.strings(values[n])...)
			}
		}
	})
	return all
}

// once calls f unless f is already running for of.
func (g *goCode) once(of types.Object, f func()) {
	if of == nil || g.active[of] {
		return
	}
	g.active[of] = true
	defer delete(g.active, of)
	f()
}

// named returns the possible values of a variable, parameter or field.
func (g *goCode) named(o types.Object) (all word) {
	g.once(o, func() {
		for _, s := range g.sources[o] {
			switch s.how {
			case whole:
				all = append(all, g.strings(s.expr)...)
			case elements, keys:
				for _, list := range g.within(s) {
					for _, each := range list {
						all = append(all, each...)
					}
				}
			case result:
				if call, ok := s.expr.(*ast.CallExpr); ok {
					all = append(all, g.returned(call, s.n)...)
				}
			}
		}
		if p, ok := g.params[o]; ok && !p.variadic {
			for _, call := range g.calls[p.of] {
				if p.n < len(call.Args) {
					all = append(all, g.strings(call.Args[p.n])...)
				}
			}
		}
	})
	return all
}

// within returns the elements or the keys of the operand of range.
func (g *goCode) within(s source) [][]word {
	if lit, ok := s.expr.(*ast.CompositeLit); ok && s.how == keys {
		var all []word
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				all = append(all, g.strings(kv.Key))
			}
		}
		return [][]word{all}
	}
	if s.how == keys {
		return nil
	}
	return g.lists(s.expr)
}

// lists returns the possible values of a slice of strings.
func (g *goCode) lists(e ast.Expr) (all [][]word) {
	switch e := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		var list []word
		for _, each := range e.Elts {
			if kv, ok := each.(*ast.KeyValueExpr); ok {
				each = kv.Value
			}
			if nested, ok := each.(*ast.CompositeLit); ok {
				all = append(all, g.lists(nested)...)
				continue
			}
			list = append(list, g.strings(each))
		}
		return append(all, list)
	case *ast.SliceExpr:
		n, _ := strconv.Atoi(literalOf(e.Low))
		for _, list := range g.lists(e.X) {
			all = append(all, list[min(n, len(list)):])
		}
		return all
	case *ast.CallExpr:
		return g.listCall(e)
	case *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr:
		if index, ok := e.(*ast.IndexExpr); ok {
			return g.lists(index.X)
		}
		o := g.object(e)
		if list, ok := g.bound[o]; ok && o != nil {
			return [][]word{list}
		}
		if g.active[o] { // in a = append(a, …): the values of a found so far
			return g.partial[o]
		}
		g.once(o, func() {
			defer delete(g.partial, o)
			for _, s := range g.sources[o] {
				g.partial[o] = slices.Clone(all)
				if s.how == whole || s.how == elements {
					all = append(all, g.lists(s.expr)...)
				} else if call, ok := s.expr.(*ast.CallExpr); ok && s.how == result {
					all = append(all, g.returnedLists(call, s.n)...)
				}
			}
			if p, ok := g.params[o]; ok {
				for _, call := range g.calls[p.of] {
					switch {
					case p.n > len(call.Args) || p.n == len(call.Args) && !p.variadic:
					case p.variadic:
						all = append(all, g.arguments(call.Args[p.n:], call.Ellipsis.IsValid())...)
					default:
						all = append(all, g.lists(call.Args[p.n])...)
					}
				}
			}
		})
	}
	if len(all) > most {
		all = all[:most]
	}
	return all
}

func (g *goCode) returnedLists(e *ast.CallExpr, n int) (all [][]word) {
	o := g.object(e.Fun)
	g.once(o, func() {
		for _, values := range g.results[o] {
			if n < len(values) {
				all = append(all, g.lists(values[n])...)
			}
		}
	})
	return all
}

func (g *goCode) listCall(e *ast.CallExpr) (all [][]word) {
	callee := types.ExprString(e.Fun)
	switch {
	case callee == "append" && len(e.Args) > 0:
		begin := g.lists(e.Args[0])
		if x := ast.Unparen(e.Args[0]); len(begin) == 0 && g.object(x) != nil && len(g.sources[g.object(x)]) == 0 {
			begin = [][]word{nil} // declared without a value
		}
		for _, list := range begin {
			for _, rest := range g.arguments(e.Args[1:], e.Ellipsis.IsValid()) {
				all = append(all, slices.Concat(list, rest))
			}
		}
	case callee == "slices.Clone":
		return g.lists(e.Args[0])
	case callee == "strings.Fields":
		for _, text := range g.strings(e.Args[0]) {
			all = append(all, words(strings.Fields(text)...))
		}
	default:
		return g.returnedLists(e, 0)
	}
	return all
}
