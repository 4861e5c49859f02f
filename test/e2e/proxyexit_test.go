//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/shim"
)

const (
	httpProxy  = "http://10.77.0.1:3128"
	socksProxy = "socks5://10.77.0.1:1081"
	secret     = "hunter2" // which must be seen nowhere
)

const proxyExits = `{"http": {"type": "proxy", "url": "` + httpProxy + `"}, "socks": {"type": "proxy", "url": "` + socksProxy + `"}}`

// The names of inner.test are known to the proxies alone, and lead to their own
// loopback.
const proxyResources = `[
	{"name": "judged by http", "host": "web.corp.test", "ports": [80], "exit": "http"},
	{"name": "judged by socks", "host": "echo.corp.test", "ports": [7], "exit": "socks"},
	{"name": "rebound", "host": "rebind.corp.test", "ports": [80], "exit": "http"},
	{"name": "by http", "host": "http.inner.test", "ports": [8077, 8078], "exit": "http", "resolve": "exit"},
	{"name": "by socks", "host": "*.socks.inner.test", "ports": [8077, 8078], "exit": "socks", "resolve": "exit"},
	{"name": "unresolved", "host": "gone.corp.test", "ports": [8077], "exit": "http"}
]`

// raiseProxies runs Debian's tinyproxy and microsocks on corp, which want a user
// and a password, and returns tinyproxy's log.
func raiseProxies(t *testing.T) (log string) {
	t.Helper()
	corp, dir := world.Corp, t.TempDir()
	log = filepath.Join(dir, "log")
	conf := filepath.Join(dir, "tinyproxy.conf")
	mustWrite(t, conf, fmt.Sprintf("Port 3128\nListen 10.77.0.1\nTimeout 60\nMaxClients 50\nLogFile %q\nLogLevel Connect\nBasicAuth me %s\nConnectPort 80\nConnectPort 8077\nConnectPort 8078\n", log, secret))
	hosts, err := os.ReadFile(corp.HostsFile())
	if err != nil {
		t.Fatal(err)
	}
	inner := "127.0.0.77 http.inner.test x.socks.inner.test gone.corp.test\n"
	if err := os.WriteFile(corp.HostsFile(), append(hosts, inner...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(corp.HostsFile(), hosts, 0o644) })
	ln, err := corp.Listen("tcp", "127.0.0.77:8077")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inner "+r.Host) })}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	for at, argv := range map[string][]string{
		"10.77.0.1:3128": {"tinyproxy", "-d", "-c", conf},
		"10.77.0.1:1081": {"microsocks", "-i", "10.77.0.1", "-p", "1081", "-u", "me", "-P", secret},
	} {
		cmd := exec.Command("ip", append([]string{"netns", "exec", corp.NS}, argv...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		eventually(t, 10*time.Second, argv[0]+" listens", func() bool {
			c, err := world.Laptop.Dial(t.Context(), "tcp", at)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	return log
}

func credentialsFor(password string) string {
	return fmt.Sprintf(`{%q: {"user": "me", "password": %q}, %q: {"user": "me", "password": %q}}`, httpProxy, password, socksProxy, password)
}

// TestProxyExit reaches what proxies reach, who want to know who asks.
func TestProxyExit(t *testing.T) {
	log := raiseProxies(t)
	dir := t.TempDir()
	exits, credentials := filepath.Join(dir, "exits.json"), filepath.Join(dir, "credentials.json")
	mustWrite(t, exits, proxyExits)
	mustWrite(t, credentials, credentialsFor(secret))
	t.Run("with credentials", func(t *testing.T) {
		s := connect(t, proxyResources, "--exits", exits, "--credentials", credentials)
		for _, c := range []struct{ what, script, want string }{
			{"an address judged here, by HTTP", "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://web.corp.test/", "200"},
			{"an address judged here, by SOCKS5", "exec 3<>/dev/tcp/echo.corp.test/7; echo hello >&3; timeout 10 head -n 1 <&3", "hello"},
			{"a name of the proxy's, by HTTP", "curl -sS -m 10 http://http.inner.test:8077/", "inner http.inner.test:8077"},
			{"a name of the proxy's, by SOCKS5", "curl -sS -m 10 http://x.socks.inner.test:8077/", "inner x.socks.inner.test:8077"},
			{"refused, as a SOCKS5 proxy tells", "curl -sS -m 10 -o /dev/null -w '%{http_code}' -x http://" + s.Proxy + " http://x.socks.inner.test:8078/", "502"},
			{"a name that this machine does not know", "curl -sS -m 10 -x http://" + s.Proxy + " http://gone.corp.test:8077/ | grep -c 'no address'", "1"},
			{"what this machine's resolver must not say", "curl -sS -m 10 -o /dev/null -w '%{http_code}' -x http://" + s.Proxy + " http://rebind.corp.test/", "403"},
		} {
			if out, err := cloud(t, 20*time.Second, c.script); out != c.want {
				t.Errorf("%s: %q (%v), want %q", c.what, out, err, c.want)
			}
		}
		// A proxy has no records: that is an answer, and no silence.
		for q, want := range map[string]string{
			"x.socks.inner.test TXT": "NOTIMP", "x.socks.inner.test HTTPS": "NOTIMP", "x.socks.inner.test AAAA": "NOERROR",
			"web.corp.test TXT": dig(t, world.Laptop, "web.corp.test", "TXT"), "web.corp.test MX": dig(t, world.Laptop, "web.corp.test", "MX"),
		} {
			if got := dig(t, world.Cloud, strings.Fields(q)...); got != want {
				t.Errorf("%s: %s, want %s", q, got, want)
			}
		}
		asked, err := os.ReadFile(log)
		if err != nil || !strings.Contains(string(asked), "CONNECT 10.77.0.12:80 ") || !strings.Contains(string(asked), "CONNECT http.inner.test:8077 ") {
			t.Errorf("the proxy was asked for other things: %v\n%s", err, asked)
		}
		for _, pid := range running() {
			for _, name := range []string{"cmdline", "environ"} {
				if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name)); strings.Contains(string(b), secret) {
					t.Errorf("the password is in %s of a helper", name)
				}
			}
		}
		if strings.Contains(s.log.String(), secret) {
			t.Error("the password is in the log")
		}
	})
	t.Run("without, and with others", func(t *testing.T) {
		wrong := filepath.Join(dir, "wrong.json")
		mustWrite(t, wrong, credentialsFor("x"+secret))
		for want, args := range map[string][]string{
			"asks for a user and a password": {"--exits", exits}, "does not accept the user": {"--exits", exits, "--credentials", wrong},
		} {
			s := connect(t, proxyResources, args...)
			for _, url := range []string{"http://web.corp.test/", "http://x.socks.inner.test:8077/"} {
				out, _ := cloud(t, 20*time.Second, "curl -sS -m 10 -w ' %{http_code}' -x http://"+s.Proxy+" "+url)
				if !strings.Contains(out, want) || !strings.HasSuffix(out, " 403") {
					t.Errorf("%s: %q, want %q", url, out, want)
				}
			}
			if strings.Contains(s.log.String(), secret) {
				t.Error("the password is in the log")
			}
			s.stop()
		}
	})
	t.Run("a file that others may read", func(t *testing.T) {
		open := filepath.Join(dir, "open.json")
		mustWrite(t, open, credentialsFor(secret))
		if err := os.Chmod(open, 0o644); err != nil {
			t.Fatal(err)
		}
		list := filepath.Join(dir, "resources.json")
		mustWrite(t, list, proxyResources)
		out, err := exec.CommandContext(t.Context(), helper, "connect", "--resources", list, "--exits", exits, "--credentials", open, "--", "true").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "make it 0600") || strings.Contains(string(out), secret) {
			t.Errorf("%v %s", err, out)
		}
	})
	t.Run("from the editor", func(t *testing.T) {
		d := driveWith(t, shim.Settings{Resources: proxyResources, Exits: proxyExits, Credentials: credentialsFor(secret)})
		if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 http://x.socks.inner.test:8077/"); out != "inner x.socks.inner.test:8077" {
			t.Errorf("%q", out)
		}
		// They are given, and taken back, while a session lasts.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		params := map[string]any{"resources": json.RawMessage(proxyResources), "exits": json.RawMessage(proxyExits)}
		if err := d.Gateway.Call(ctx, "resources/set", params, nil); err != nil {
			t.Fatal(err)
		}
		if out, err := cloud(t, 20*time.Second, "curl -sS -m 10 http://x.socks.inner.test:8077/"); err == nil {
			t.Errorf("without credentials: %q", out)
		}
		if log := d.Gateway.Log.String() + d.Capture.Log.String(); strings.Contains(log, secret) {
			t.Error("the password is in a log")
		}
	})
}
