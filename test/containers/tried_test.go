//go:build linux

package containers

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("tried", false, "write what was seen into docs/tried-on.md")

// row is one line of the table in docs/tried-on.md.
type row struct{ what, version, result string }

// result puts into words what was found.
func result(b box, found map[string]error) string {
	because := map[string][]string{}
	for way, err := range found {
		if err != nil {
			why := b.without[way]
			if why == "" {
				why = "a fault"
			}
			because[why] = append(because[why], way)
		}
	}
	if len(because) == 0 {
		return "works"
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(because)) {
		slices.Sort(because[why])
		parts = append(parts, strings.Join(because[why], ", ")+" ("+why+")")
	}
	return "works, except " + strings.Join(parts, "; ")
}

// tried compares rows with those of docs/tried-on.md, or replaces them there.
func tried(t *testing.T, rows []row) {
	t.Helper()
	const file, begin, end = "../../docs/tried-on.md", "<!-- containers -->\n", "<!-- /containers -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %s … %s", file, begin, end)
	}
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	for _, r := range rows {
		engine, _, _ := strings.Cut(r.version, " ")
		line := fmt.Sprintf("| %s | %s | %s | %s |", r.what, r.version, time.Now().UTC().Format(time.DateOnly), r.result)
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| "+r.what+" | "+engine+" ") })
		switch {
		case *write && i < 0:
			lines = append(lines, line)
		case *write:
			lines[i] = line
		case i < 0 || !strings.HasSuffix(lines[i], " | "+r.result+" |"):
			t.Errorf("%s does not say that %s with %s %s; run go test ./test/containers -tried", file, r.what, r.version, r.result)
		}
	}
	if *write {
		engine := func(line string) string { return strings.Split(line, " | ")[1] }
		slices.SortStableFunc(lines[2:], func(a, b string) int { return strings.Compare(engine(a), engine(b)) })
		text := before + begin + strings.Join(lines, "\n") + "\n" + end + after
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
