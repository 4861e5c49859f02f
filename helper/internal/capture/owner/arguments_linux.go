package owner

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxCommandLine = 4 << 10 // bytes that are read
	maxArguments   = 1 << 10 // bytes that are told
)

// Arguments are the command line of the process pid, if that is uid's and runs
// program: escaped, quoted where it is needed, and cut to about 1 KiB. "" if it
// is neither, or gone. They may hold secrets: who asks shows them and nothing more.
func Arguments(pid int, program string, uid int) string {
	if pid <= 0 || !belongs(pid, uid) || Program(pid) != program {
		return ""
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	defer f.Close()
	line, err := io.ReadAll(io.LimitReader(f, maxCommandLine))
	if err != nil || len(line) == 0 || !belongs(pid, uid) { // it has none while it starts, and at its end
		return ""
	}
	return quoted(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"))
}

// quoted joins arguments as a person would write them.
func quoted(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if q := strconv.Quote(a); a == "" || strings.ContainsAny(a, " '") || q != `"`+a+`"` {
			a = q
		}
		if room := maxArguments - b.Len(); len(a) > room {
			for room > 0 && !utf8.RuneStart(a[room]) {
				room--
			}
			b.WriteString(a[:max(room, 0)] + "…")
			break
		}
		b.WriteString(a)
	}
	return b.String()
}
