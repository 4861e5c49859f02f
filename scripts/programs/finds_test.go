package programs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFinds shows which programs the walk sees in which kinds of code.
func TestFinds(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"pipes, conditions and substitutions", "a.sh", `one | two && three "$(four x)" || ! five; if six; then seven; fi`, "five four one seven six three two"},
		{"functions and builtins", "a.sh", "f() { one; }; f; cd x; f=$(printf x)", "one"},
		{"arrays", "a.sh", `run=(env A=b one); "${run[@]}" two`, "env one"},
		{"a file of the tree", "a.sh", `scripts/test; "$dir/one" x; $two three; "$root/node_modules/.bin/four"`, "four one"},
		{"wrappers", "a.sh", `sudo -n one; sudo -u x two; timeout -k 5 10 three; env -i A=b four; x | xargs -r -n 1 five; setpriv --reuid=1 -- six; flock 9 seven`,
			"env five flock four one setpriv seven six sudo three timeout two x xargs"},
		{"shells in shells", "a.sh", `bash -euo pipefail -c 'one; two'; sh -c "three $x"; trap 'four' EXIT; bash -c 'exec "$@"' bash five`, "bash five four one sh three two"},
		{"a here-document in a namespace", "a.sh", "ip netns exec x bash -eu <<E\none | two\nE", "bash ip one two"},
		{"a namespace", "a.sh", `ip netns exec "$ns" one; ip link show two`, "ip one"},
		{"ssh", "a.sh", `ssh -F config host 'one | two'; GIT_SSH_COMMAND='three -F x' git clone`, "git one ssh three two"},
		{"what a package runs", "package.json", `{"scripts": {"a": "one && two -p x", "b": "npm run a"}}`, "npm one two"},

		{"literals", "a.go", `exec.Command("one", "x"); exec.CommandContext(ctx, "/usr/bin/two"); exec.LookPath("three")`, "bash one three two"},
		{"a host of the lab", "a.go", `h.Command(ctx, "one"); h.CommandAs(ctx, u, "bash", "-c", "two | three")`, "bash one three two"},
		{"a variable, a constant", "a.go", "const a = \"one\"\nb := a\nexec.Command(b); p := fmt.Sprintf(\"%s/two\", dir); exec.Command(p)", "bash one two"},
		{"arguments", "a.go", `argv := append([]string{"ip", "netns", "exec", ns}, "one"); exec.Command(argv[0], argv[1:]...)`, "bash ip one"},
		{"a parameter", "a.go", `sh("one"); sh(other + " | two"); argv("three", "x")`, "bash one three two"},
		{"a table", "a.go", `for _, c := range []struct{ n int; script string }{{1, "one"}, {2, "two; three"}} { sh(c.script) }; for s := range map[string]int{"four": 1} { sh(s) }`,
			"bash four one three two"},
		{"a result", "a.go", `sh(made()); p, _ := found(); exec.Command(p)`, "bash found one"},
		{"another system", "a_windows.go", `exec.Command("one")`, ""},

		{"spawn", "a.mjs", `spawn('one', ['x']); execFileSync("four"); execFileSync('two'); spawnSync(info.hosts.cloud.exec, ['bash', '-c', 'three'])`, "bash four one three two"},
		{"a script for a host", "a.mjs", "w.cloud(`one ${x} | two`); must('three \\'x\\'')", "one three two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWalk(t)
			switch filepath.Ext(c.file) {
			case ".sh":
				w.shell(c.file, c.text)
			case ".json":
				w.manifest(c.file, c.text)
			case ".mjs":
				w.javaScript(c.file, "import 'node:child_process';"+c.text)
			case ".go":
				text := `package a
func sh(script string) { h.Command(ctx, "bash", "-c", "cd x && "+script) }
func argv(argv ...string) { exec.Command(argv[0], argv[1:]...) }
func made() string { if x { return "one x" }; return other }
func found() (string, error) { return "found", nil }
func a() { ` + c.text + "\n}"
				name := filepath.Join(t.TempDir(), c.file)
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				here, err := filepath.Abs(root)
				if err != nil {
					t.Fatal(err)
				}
				if name, err = filepath.Rel(here, name); err != nil {
					t.Fatal(err)
				}
				w.goPackage([]string{name})
			}
			if got := strings.Join(slices.DeleteFunc(sortedKeys(w.uses), func(p string) bool { return p == "cd" }), " "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
