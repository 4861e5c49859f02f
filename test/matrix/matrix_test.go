package matrix

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables into README.md")

// TestReadme holds the tables in README.md against these here.
func TestReadme(t *testing.T) {
	const file, begin, end = "../../README.md", "<!-- matrix: go test ./test/matrix -update -->\n", "<!-- /matrix -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md has no %s … %s", begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+Markdown()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(Markdown(), shown); diff != "" {
		t.Errorf("README.md shows another matrix; go test ./test/matrix -update mends it:\n%s", diff)
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

// Every exception is of a tier and a row that there are.
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
