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
	maxArguments   = 1 << 10 // bytes of the result
)

// Arguments returns the command line of the process pid if it belongs to uid and
// runs program, else "". The result is escaped, quoted where needed, and cut to
// about 1 KiB. It can contain secrets: callers show it and do not store it.
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

// quoted joins arguments as a person would type them.
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
