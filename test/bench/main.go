//go:build linux

// Command bench measures Causeway beside its rivals in its own network namespaces,
// and prints the results as tables. scripts/bench runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	root     string
	rows     *regexp.Regexp
	tools    *regexp.Regexp
	rounds   int
	quick    bool
	helper   string
	before   string
	profiles string
	progress io.Writer
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if len(os.Args) > 2 && roles[os.Args[1]] != nil {
		cancel() // the lab ends roles; a client handles signals itself
		err = roles[os.Args[1]](context.Background(), os.Args[2:])
	} else {
		err = run(ctx, os.Args[1:])
	}
	cancel()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := options{progress: os.Stderr}
	var list bool
	pattern := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) {
			*to, err = regexp.Compile(s)
			return err
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "`DIR` of Causeway's tree")
	flags.BoolVar(&o.quick, "quick", false, "measure the main rows in one short round, to see that everything works")
	flags.IntVar(&o.rounds, "rounds", 0, "`NUMBER` of times that everything is measured (default 5, with --quick 1)")
	flags.StringVar(&o.helper, "helper", "", "measure this helper, `FILE`, in place of the tree's")
	flags.StringVar(&o.before, "before", "", "measure an earlier helper, `FILE`, beside the helper in each round, and print the ratios")
	flags.Func("rows", "measure only rows whose name matches `REGEXP`", pattern(&o.rows))
	flags.Func("tools", "measure only tools whose name matches `REGEXP`", pattern(&o.tools))
	flags.StringVar(&o.profiles, "cpuprofile", "", "write profiles of both helpers to `DIR`, of bulk flows and bursts")
	flags.BoolVar(&list, "list", false, "print the names of rows and tools")
	if err := flags.Parse(args); err != nil {
		return err
	}
	rows := o.selected()
	if list {
		for _, r := range rows {
			fmt.Printf("%-12s %s, %s\n", r.name, r.title, r.on.name)
			for _, t := range r.tools {
				fmt.Printf("%-12s   %s\n", "", t.name)
			}
		}
		return nil
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 1
		}
	}
	start := time.Now()
	w, err := raise(ctx, o)
	if err != nil {
		return err
	}
	s, err := w.measure(ctx, o, rows)
	bytes := size(w.helper)
	err = errors.Join(err, w.lab.Close())
	report(os.Stdout, rows, s, time.Since(start))
	compare(os.Stdout, rows, s)
	judge(os.Stdout, s, bytes)
	return err
}

// selected returns the rows, and the tools of each, that the options select.
func (o options) selected() []row {
	var rows []row
	for _, r := range allRows() {
		if o.rows != nil && !o.rows.MatchString(r.name) || o.rows == nil && o.quick && !r.quick {
			continue
		}
		r.tools = slices.DeleteFunc(slices.Clone(r.tools), func(t tool) bool {
			return o.tools != nil && !o.tools.MatchString(t.name) || o.tools == nil && o.quick && !has(essential, t)
		})
		if o.before != "" {
			r.tools = withEarlier(r.tools)
		}
		if len(r.tools) > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// build builds the helper with the flags of a release.
func (o options) build(ctx context.Context, to string, p *profiler) error {
	if o.helper != "" {
		if p != nil {
			return errors.New("profile a helper built elsewhere: only one that is built here can be")
		}
		return copyProgram(o.helper, to)
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", to}
	if p != nil {
		flag, err := p.overlay(root)
		if err != nil {
			return err
		}
		args = append(args, flag)
	}
	c := exec.CommandContext(ctx, "go", append(args, "./helper")...)
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the helper: %w: %s", err, out)
	}
	return nil
}

func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// withEarlier adds the same tool with the earlier helper after each tool of
// Causeway.
func withEarlier(tools []tool) []tool {
	var all []tool
	for _, t := range tools {
		all = append(all, t)
		if has(ours, t) {
			all = append(all, earlier(t))
		}
	}
	return all
}

// measure goes through conditions, rounds and tools, in this order, so that figures
// that are compared are measured close together.
func (w *world) measure(ctx context.Context, o options, rows []row) (*samples, error) {
	s := newSamples(o.rounds)
	var done []string
	for _, first := range rows {
		if slices.Contains(done, first.on.name) {
			continue
		}
		done = append(done, first.on.name)
		together := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.on.name != first.on.name })
		rounds := o.rounds
		if first.on.path.Delay > 0 {
			rounds = (rounds + 1) / 2 // windows determine these figures, not noise
		}
		for round := range rounds {
			tools := toolsOf(together)
			if round%2 == 1 {
				slices.Reverse(tools) // otherwise a machine that slows down would favour the first
			}
			for _, t := range tools {
				if err := w.measureTool(ctx, o, t, together, round, s); err != nil {
					return s, err
				}
			}
		}
	}
	return s, nil
}

func toolsOf(rows []row) []tool {
	var tools []tool
	for _, r := range rows {
		for _, t := range r.tools {
			if !has(tools, t) {
				tools = append(tools, t)
			}
		}
	}
	return tools
}

func has(tools []tool, t tool) bool {
	return slices.ContainsFunc(tools, func(u tool) bool { return u.name == t.name })
}

// measureTool measures all rows of one tool. If a tool fails in a row, later rounds
// of that row leave it out. measureTool returns an error only if going on is useless.
func (w *world) measureTool(ctx context.Context, o options, t tool, rows []row, round int, s *samples) error {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		return !has(r.tools, t) || s.errs[[2]string{r.name, t.name}] != ""
	})
	if len(rows) == 0 {
		return ctx.Err()
	}
	v, down, err := w.up(ctx, t, rows[0].on)
	if err != nil {
		for _, r := range rows {
			s.errs[[2]string{r.name, t.name}] = err.Error()
		}
		fmt.Fprintf(w.log, "%s, %s: %v\n", rows[0].on.name, t.name, err)
		return ctx.Err()
	}
	defer down()
	for _, r := range rows {
		m := &measurement{world: w, way: v, name: r.name + "-" + t.slug(), on: r.on, quick: o.quick}
		fmt.Fprintf(w.log, "%s, round %d, %s:", r.name, round+1, t.name)
		m.add = func(column string, value float64) {
			s.add(figure{r.name, t.name, column}, round, value)
			fmt.Fprintf(w.log, " %s %.4g", column, value)
		}
		if err := r.measure(ctx, m); err != nil {
			s.errs[[2]string{r.name, t.name}] = err.Error()
			fmt.Fprintf(w.log, " %v", err)
		}
		fmt.Fprintln(w.log)
	}
	return ctx.Err()
}

// slug is the last word of the name.
func (t tool) slug() string { return t.name[strings.LastIndexByte(t.name, ' ')+1:] }
