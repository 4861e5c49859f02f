//go:build linux

package e2e

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// Programs that were started while connected keep the nameservers of then for life. They
// resolve public names after the session, too.
func TestProgramsThatLiveOn(t *testing.T) {
	i := world.Info()
	programs := map[string][]string{
		"Node by c-ares": {i.NPM.Node, "-e", `
const dns = require('dns');
const ask = () => dns.resolve4('public.example.test', (e, a) => console.log(e?.code ?? a.join()));
process.stdin.on('data', ask); process.stdin.on('end', () => process.exit())`},
		"glibc": {"/usr/bin/python3", "-u", "-c", `
import socket, sys
for line in sys.stdin: print(socket.gethostbyname("public.example.test"))`},
	}
	d := driveWith(t, shim.Settings{Resources: bystanderResources})
	asks := map[string]func() string{}
	for name, argv := range programs {
		cmd := world.Cloud.CommandAs(t.Context(), i.Users[lab.Dev], argv[0], argv[1:]...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
		lines := bufio.NewReader(out)
		asks[name] = func() string {
			_, _ = io.WriteString(in, "ask\n")
			line, _ := lines.ReadString('\n')
			return strings.TrimSpace(line)
		}
	}
	check := func(when string) {
		t.Helper()
		for name, ask := range asks {
			begin := time.Now()
			if got := ask(); got != "198.51.100.10" || time.Since(begin) > time.Second {
				t.Errorf("%s, %s: %q after %v", name, when, got, time.Since(begin))
			}
		}
	}
	check("connected")
	_ = d.Close()
	eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
	check("disconnected")
}
