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
	const file, begin, end = "../../docs/ways.md", "<!-- matrix: go test ./test/matrix -update -->\n", "<!-- /matrix -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %s … %s", file, begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+Markdown()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(Markdown(), shown); diff != "" {
		t.Errorf("%s shows another matrix; run go test ./test/matrix -update:\n%s", file, diff)
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

// Every exception names a tier and a row that exist.
func TestExceptions(t *testing.T) {
	for _, known := range []struct {
		cannot map[pair]string
		rows   []string
	}{{lacking, Privileges()}, {unable, Clients()}} {
		for p, why := range known.cannot {
			if !slices.Contains(known.rows, p.of) || !slices.Contains(Tiers(), p.tier) || why == "" {
				t.Errorf("%+v: %q", p, why)
			}
		}
	}
}
