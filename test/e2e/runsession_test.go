//go:build linux

package e2e

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// TestRunSurvivesCut holds a carried connection through a cut, and begins
// another during it.
func TestRunSurvivesCut(t *testing.T) {
	d := driveWith(t, shim.Settings{Resources: runResources})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := world.Cloud.CommandAs(ctx, world.Info().Users[lab.Dev], helper, "run", "--", "python3", "-uc", `
import socket, sys
s = socket.create_connection(("10.77.0.14", 7)); s.sendall(b"a"); print(s.recv(1))
sys.stdin.readline()
u = socket.socket(); u.setblocking(False); e = u.connect_ex(("10.77.0.14", 7)); s.sendall(b"b"); print(e)
print(s.recv(1)); u.setblocking(True); u.sendall(b"c"); print(u.recv(1), u.getpeername()[0])
`)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if got, err := lines.ReadString('\n'); strings.TrimSpace(got) != want {
			rest, _ := io.ReadAll(lines)
			t.Fatalf("got %q %v, want %q; then %s", got, err, want, rest)
		}
	}
	expect("b'a'")
	d.Cut()
	_, _ = io.WriteString(in, "\n")
	expect("115")
	d.link()
	expect("b'b'")
	expect("b'c' 10.77.0.14")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRunTerminal runs commands on a terminal of their own: it stays theirs, and
// its keys reach them.
func TestRunTerminal(t *testing.T) {
	connect(t, runResources, "--tun=off")
	for name, c := range map[string]struct{ script, keys, want string }{
		"interrupt":   {"echo ready; exec sleep 60", `\x03`, "ends with 130"},
		"unminded":    {`trap "" QUIT; echo ready; read x; echo got $x`, `\x1chi\n`, "got hi\r\n ends with 0"},
		"is one":      {"tty > /dev/null && echo ready; read x; echo got $x", `hi\n`, "got hi"},
		"job control": {"echo ready; exec bash --norc -i", `sleep 60\n\x1a\njobs; exit 7\nexit 7\n`, "Stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := cloud(t, 30*time.Second, "python3 - "+helper+" '"+c.script+"' '"+c.keys+"' <<'E'\n"+terminalProbe+"E\n")
			if err != nil || !strings.Contains(out, c.want) || strings.Contains(out, "no job control") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// terminalProbe runs a script under run on a terminal, and types once it is ready.
const terminalProbe = `
import os, pty, sys, time
helper, script, keys = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0: os.execv(helper, [helper, "run", "--", "sh", "-c", script])
said = b""; typed = False; keys = keys.encode().decode("unicode_escape").encode()
try:
    while b := os.read(fd, 4096):
        said += b
        if not typed and b"ready" in said:
            typed = True
            if b"\x1a" in keys.replace(b"\\x1a", b"\x1a"):
                first, rest = keys.split(b"\x1a")
                os.write(fd, first)
                while b"sleep 60" not in said: said += os.read(fd, 4096)
                time.sleep(1); os.write(fd, b"\x1a" + rest)
            else: os.write(fd, keys)
except OSError: pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(said.decode(), "ends with", status)
`
