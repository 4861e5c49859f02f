package matrix

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables into docs/ways.md")

// TestTables compares the tables in docs/ways.md with those of this package.
func TestTables(t *testing.T) {
	const file = "../../docs/ways.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, want := range map[string]string{"matrix": Markdown(), "conformance": Conformance()} {
		begin, end := "<!-- "+name+": go test ./test/matrix -update -->\n", "<!-- /"+name+" -->\n"
		before, rest, found := strings.Cut(text, begin)
		shown, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no %s … %s", file, begin, end)
		}
		text = before + begin + want + end + after
		if diff := cmp.Diff(want, shown); diff != "" && !*update {
			t.Errorf("%s shows another %s; run go test ./test/matrix -update:\n%s", file, name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPairwise(t *testing.T) {
	met := map[[2]string]bool{}
	for _, c := range Pairwise() {
		met[[2]string{c.Privilege, c.Tier}], met[[2]string{c.Tier, c.Client}], met[[2]string{c.Privilege, c.Client}] = true, true, true
	}
	for _, kinds := range [][2][]string{{Privileges(), Tiers()}, {Tiers(), Clients()}, {Privileges(), Clients()}} {
		for _, a := range kinds[0] {
			for _, b := range kinds[1] {
				if !met[[2]string{a, b}] {
					t.Errorf("%s and %s do not meet", a, b)
				}
			}
		}
	}
}

// Every exception names a column and a row that exist.
func TestExceptions(t *testing.T) {
	for _, known := range []struct {
		cannot        map[pair]string
		rows, columns []string
	}{{lacking, Privileges(), Tiers()}, {unable, Clients(), Tiers()}, {differing, Seen(), Ways()}} {
		for p, why := range known.cannot {
			if !slices.Contains(known.rows, p.of) || !slices.Contains(known.columns, p.tier) || why == "" {
				t.Errorf("%+v: %q", p, why)
			}
		}
	}
}

// Every row has probes, and no probe stands for two rows.
func TestSeen(t *testing.T) {
	row := map[string]string{}
	for _, what := range Seen() {
		if len(seen[what]) == 0 {
			t.Errorf("nothing shows: %s", what)
		}
		for _, probe := range seen[what] {
			if row[probe] != "" {
				t.Errorf("%s shows %q and %q", probe, row[probe], what)
			}
			row[probe] = what
		}
	}
	if len(seen) != len(Seen()) {
		t.Errorf("%d rows, and %d that probes show", len(Seen()), len(seen))
	}
}
