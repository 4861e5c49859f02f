package service

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

var odd = Spec{Program: `/opt/my tools/100% "café"\causeway`, Args: []string{"gateway", "--listen", "127.0.0.1:7741", "$HOME <&>"}}

func TestSystemdUnit(t *testing.T) {
	const want = `ExecStart="/opt/my tools/100%% \"café\"\\causeway" "gateway" "--listen" "127.0.0.1:7741" "$$HOME <&>"` + "\n"
	if text := systemdUnit(odd); !strings.Contains(text, want) {
		t.Errorf("%s", text)
	}
}

func TestLaunchdPlist(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(launchdPlist(odd)))
	var words []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "string" {
			var s string
			if err := d.DecodeElement(&s, &e); err != nil {
				t.Fatal(err)
			}
			words = append(words, s)
		}
	}
	want := append([]string{label, odd.Program}, odd.Args...)
	if got := strings.Join(words[:len(want)], "\n"); got != strings.Join(want, "\n") {
		t.Errorf("%q", words)
	}
}

// A line break in a path would add lines to the unit.
func TestLineBreaks(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	err := Install(t.Context(), Spec{Program: "/tmp/a\nExecStartPre=/bin/false"})
	if err == nil {
		t.Error("it is installed")
	}
	if s, err := Status(t.Context()); err != nil || s.Installed {
		t.Errorf("%+v, %v", s, err)
	}
}
