//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// userManager runs its second argument, a script, below a systemd of the user whose home
// is the first. Systemd refuses to run where another program started the machine, so the
// script has a /run/systemd/system of its own. It has a control group of its own too.
const userManager = `
mount -t tmpfs none /run/systemd && mkdir -p /run/systemd/system
mkdir "$1/cgroup" && mount -t cgroup2 none "$1/cgroup" && own=$(mktemp -d "$1/cgroup/causeway-XXXXXX")
trap 'find "$own" -depth -type d -exec rmdir {} +' EXIT
(echo $BASHPID >"$own/cgroup.procs"; exec unshare --cgroup --mount bash -c "$3" bash "$@")`

const inGroup = `
mount -t cgroup2 none /sys/fs/cgroup
export HOME=$1 XDG_CONFIG_HOME=$1/.config XDG_RUNTIME_DIR=$1/run PATH=$1/bin:$PATH
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
/lib/systemd/systemd --user --log-target=console --log-level=warning & manager=$!
trap 'systemctl --user exit; wait $manager' EXIT
for _ in $(seq 200); do systemctl --user is-system-running >/dev/null 2>&1 && break; sleep 0.05; done
systemctl --user set-environment PATH="$PATH"
eval "$2"
`

// A real systemd of a user starts the helper, starts it again after a crash, and lets
// it open its page through the user's desktop.
func TestService(t *testing.T) {
	home := t.TempDir()
	file := func(name string) string { return filepath.Join(home, name) }
	if err := os.MkdirAll(file("bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	opener := "#!/bin/sh\necho \"$1\" >>" + file("opened") + "\n"
	if err := os.WriteFile(file("bin/xdg-open"), []byte(opener), 0o755); err != nil {
		t.Fatal(err)
	}
	script := `
say() { echo "== $*"; }
pid() { systemctl --user show --property MainPID --value causeway-gateway.service; }
` + helper + ` service status
say installed; ` + helper + ` service install
say again; ` + helper + ` service install
say status; ` + helper + ` service status
say crash; first=$(pid); kill -9 $first
for _ in $(seq 200); do now=$(pid); [ "$now" != 0 ] && [ "$now" != "$first" ] && break; sleep 0.1; done
for _ in $(seq 100); do ss -Hltn 'sport = :7741' | grep -q 7741 && break; sleep 0.1; done
[ "$now" != 0 ] && [ "$now" != "$first" ] && say restarted
curl -s -m 20 -H 'Origin: https://name.test' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
  -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' -o /dev/null 'http://127.0.0.1:7741/pair?code=K7PQ' & page=$!
for _ in $(seq 100); do [ -s ` + file("opened") + ` ] && break; sleep 0.1; done
kill $page
say opened; cat ` + file("opened") + `
say removed; ` + helper + ` service remove
` + helper + ` service status
say taken; ` + helper + ` gateway --listen 127.0.0.1:7741 --page off & taken=$!
for _ in $(seq 100); do ss -Hltn 'sport = :7741' | grep -q 7741 && break; sleep 0.1; done
` + helper + ` service install --listen 127.0.0.1:7741 2>&1; kill $taken; wait $taken
` + helper + ` service remove; ` + helper + ` service remove
`
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := world.Laptop.Command(ctx, "unshare", "--mount", "bash", "-c", userManager, "bash", home, script, inGroup)
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	rest := text
	for _, want := range []string{
		"there is no service",
		"== installed", "the helper listens at 127.0.0.1:7741, now and after each login", helper,
		"== again", "the helper listens",
		"== status", "the service runs", "causeway-gateway.service", "ask-7741.html", "journalctl --user",
		"== crash", "== restarted",
		"== opened", "ask-7741.html",
		"== removed", "there is no service now", "there is no service:",
		"== taken", "127.0.0.1:7741 is in use", "there is no service now",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q in the rest of\n%s", want, text)
		}
		rest = after
	}
	for _, left := range []string{".config/systemd/user/causeway-gateway.service", ".config/systemd/user/default.target.wants/causeway-gateway.service", ".config/causeway/ask-7741.html"} {
		if _, err := os.Lstat(file(left)); err == nil {
			t.Errorf("left behind: %s", left)
		}
	}
	eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
}
