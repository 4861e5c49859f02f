package matrix

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown returns the matrix as docs/ways.md shows it: one table of rights and one
// of programs by tier.
func Markdown() string {
	p := page{columns: Tiers()}
	p.table("the remote's user has", Privileges(), "; ", lacking)
	p.table("program", Clients(), ", ", unable)
	return p.String()
}

// page has tables with the same columns, and a numbered reason for each dash.
type page struct {
	columns   []string
	text      strings.Builder
	sentences []string
}

func (p *page) mark(why string) string {
	if why == "" {
		return "✓"
	}
	if !slices.Contains(p.sentences, why) {
		p.sentences = append(p.sentences, why)
	}
	return "– " + string([]rune("¹²³⁴⁵⁶⁷⁸⁹")[slices.Index(p.sentences, why)])
}

// table adds a table. Equal rows are merged.
func (p *page) table(title string, rows []string, separator string, cannot map[pair]string) {
	fmt.Fprintf(&p.text, "| %s | %s |\n|---%s|\n", title, strings.Join(p.columns, " | "), strings.Repeat("|:-:", len(p.columns)))
	var kinds []string
	alike := map[string][]string{}
	for _, row := range rows {
		var each []string
		for _, c := range p.columns {
			each = append(each, p.mark(cannot[pair{row, c}]))
		}
		marks := strings.Join(each, " | ")
		if alike[marks] == nil {
			kinds = append(kinds, marks)
		}
		alike[marks] = append(alike[marks], row)
	}
	for _, marks := range kinds {
		fmt.Fprintf(&p.text, "| %s | %s |\n", strings.Join(alike[marks], separator), marks)
	}
	p.text.WriteString("\n")
}

// String returns the tables and the reasons.
func (p *page) String() string {
	var b strings.Builder
	b.WriteString(p.text.String())
	for i, s := range p.sentences {
		fmt.Fprintf(&b, "%d. %s.\n", i+1, strings.ToUpper(s[:1])+s[1:])
	}
	return b.String()
}
