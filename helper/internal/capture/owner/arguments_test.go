//go:build linux

package owner

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The arguments of a process are told as a person would write them, and only of
// the program and the user that are meant.
func TestArguments(t *testing.T) {
	uid := os.Geteuid()
	long := strings.Repeat("é", maxArguments)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-c", "read x", "evil\x1b[2J\u202e", "", "plain=1", `a"b`}, `sh -c "read x" "evil\x1b[2J\u202e" "" plain=1 "a\"b"`},
		{[]string{"-c", "read x", long}, ""},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", c.args...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil { // which waits for the new program, and not for its arguments
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		program := Program(pid)
		got := ""
		for end := time.Now().Add(10 * time.Second); got == "" && time.Now().Before(end); {
			got = Arguments(pid, program, uid)
		}
		if c.want != "" && got != c.want || len(got) > maxArguments+4 || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
		if c.want == "" && !strings.HasSuffix(got, "é…") {
			t.Errorf("%q", got)
		}
		for _, none := range []string{Arguments(pid, "other", uid), Arguments(pid, program, uid+1), Arguments(0, program, uid), Arguments(-pid, program, uid)} {
			if none != "" {
				t.Errorf("told %q", none)
			}
		}
		_ = stdin.Close()
		_ = cmd.Wait()
		if got := Arguments(pid, program, uid); got != "" {
			t.Errorf("of a process that is gone: %q", got)
		}
	}
}
