package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/logs"
)

// The pages for users print commands. Each of them must exist, with its flags.
func TestCommandsOfThePages(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	root := rootCommand(&env{stdout: io.Discard, stderr: io.Discard, logs: logs.New(io.Discard)})
	// A command ends with its line, its quotes, or the command that it runs. Within
	// backticks it may be wrapped.
	printed := regexp.MustCompile(`(?m)(?:^ *(?:\$ )?|-- |['\x60]|host |box )causeway((?: [a-z]+)+)([^\n\x60'#|]*)`)
	flag := regexp.MustCompile(`(?:^|\s)--([a-z][a-z-]*)`)
	found := 0
	for _, page := range append(pages, "../../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range printed.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(m[1])
			cmd, _, err := root.Find(words)
			if err != nil || cmd == root {
				t.Errorf("%s: there is no command in %q", filepath.Base(page), m[0])
				continue
			}
			found++
			own, _, _ := strings.Cut(m[2]+" ", " -- ")
			for _, f := range flag.FindAllStringSubmatch(own, -1) {
				if cmd.Flags().Lookup(f[1]) == nil && cmd.InheritedFlags().Lookup(f[1]) == nil {
					t.Errorf("%s: %s has no flag --%s", filepath.Base(page), cmd.CommandPath(), f[1])
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d commands", found)
	}
}
