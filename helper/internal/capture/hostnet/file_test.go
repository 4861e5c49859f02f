package hostnet

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	for _, content := range []string{"", "a\n", "nameserver 10.0.0.1\noptions x", "# a\n#causeway# nameserver 10.0.0.1\n"} {
		for _, more := range []int{0, 1, 10, 11, 12, 400} {
			filled := string(fill([]byte(content), len(content)+more))
			if len(filled) != len(content)+more || !strings.HasPrefix(filled, content) {
				t.Errorf("%q by %d: %q", content, more, filled)
			}
			for line := range strings.Lines(strings.TrimPrefix(filled, content)) {
				if line != "\n" && line[0] != '#' {
					t.Errorf("%q means something", line)
				}
			}
			if more < 11 { // which ends as empty lines
				continue
			}
			if got := string(unfill([]byte(filled))); got != content {
				t.Errorf("%q by %d: %q after unfill", content, more, got)
			}
			want := content
			if want != "" {
				want = strings.TrimSuffix(want, "\n") + "\n"
			}
			if got := string(unfill([]byte(filled + "later\n"))); got != want+"later\n" {
				t.Errorf("%q by %d and a line: %q after unfill", content, more, got)
			}
		}
	}
	for _, others := range []string{"\n#causeway", "\n#causeway--", "\n#causeway-x\n", "#causeway-\n", "\n#causeway# nameserver 1.1.1.1\n"} {
		if got := string(unfill([]byte(others))); got != others {
			t.Errorf("%q became %q", others, got)
		}
	}
}
