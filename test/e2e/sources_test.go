//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

const sourceResources = `[
	{"name": "exact", "host": "web.corp.test", "ports": [80]},
	{"name": "domain", "host": "*.corp.test", "ports": [80]},
	{"name": "net", "host": "10.77.0.0/24", "ports": [80]},
]`

// traces are what sources leave on cloud while they stand.
func traces(t *testing.T) (found []string) {
	t.Helper()
	for name, there := range map[string]bool{
		"names": strings.Contains(hostsFile(t), "web.corp.test"),
		"dns":   strings.Contains(resolvConf(t), "causeway"),
		"tun":   device(t) != "",
		"proxy": onCloud(t, `ss -Hltnp | grep '127.0.0.1:.*"causeway"' || true`) != "",
	} {
		if there {
			found = append(found, name)
		}
	}
	return found
}

// TestSourcesAlone uses each source by itself: what it serves works, what the
// others would does not, and of them there is no trace.
func TestSourcesAlone(t *testing.T) {
	get := "curl -sS -o /dev/null -w '%{http_code}' "
	for alone, works := range map[string][3]bool{ // exact name, name of the domain, address
		"names": {true, false, false},
		"dns":   {true, true, false},
		"tun":   {false, false, true},
		"proxy": {true, true, true},
		"none":  {},
	} {
		t.Run(alone, func(t *testing.T) {
			var args []string
			for _, name := range []string{"names", "dns", "tun", "proxy"} {
				mode := "off"
				if name == alone {
					mode = "on"
				}
				args = append(args, "--"+name+"="+mode)
			}
			s := connect(t, sourceResources, args...)
			want := "[" + alone + "]"
			if alone == "none" {
				want = "[]"
			}
			if got := fmt.Sprint(traces(t)); got != want {
				t.Errorf("there are %s", got)
			}
			proxy := ""
			if alone == "proxy" {
				proxy = "-x socks5h://" + s.Proxy + " "
			}
			for i, url := range []string{"http://web.corp.test/", "http://www.corp.test/", "http://10.77.0.12/"} {
				limit := "-m 8 "
				if !works[i] {
					limit = "-m 1 " // nothing leads there
				}
				got, err := cloud(t, 15*time.Second, get+limit+proxy+url)
				if (err == nil && got == "200") != works[i] {
					t.Errorf("%s: %q %v", url, got, err)
				}
			}
			for i, r := range s.first.Resources {
				if served := len(r.Served) > 0; served != works[i] || served == (r.Trouble != "") {
					t.Errorf("%+v", r)
				}
			}
			if alone == "none" {
				if got := mustCloud(t, 15*time.Second, helper+" run -- "+get+"-m 8 http://10.77.0.12/"); got != "200" {
					t.Errorf("causeway run: %q", got)
				}
			}
			s.stop()
			if got := traces(t); len(got) > 0 {
				t.Errorf("left: %v", got)
			}
		})
	}
}

// TestSourcesThatCannotBeHad is for a user without any right: what is to be on
// is trouble, with the reason, and the proxy serves.
func TestSourcesThatCannotBeHad(t *testing.T) {
	other := world.Info().Users[lab.Other]
	link := append([]string{"ip", "netns", "exec", world.Cloud.NS, "setpriv", fmt.Sprintf("--reuid=%d", other.UID), fmt.Sprintf("--regid=%d", other.GID),
		"--clear-groups", "env", "HOME=" + other.Home}, helper, "capture", "--stdio")
	s := connectBy(t, sourceResources, []string{"--names=on", "--dns=on", "--tun=on", "--proxy=on"}, link...)
	for i, want := range []string{"names is on, and cannot be had: ", "dns is on, and cannot be had: ", "tun is on, and cannot be had: "} {
		if r := s.first.Resources[i]; !strings.Contains(r.Trouble, want) {
			t.Errorf("%s: %q", r.Name, r.Trouble)
		}
	}
	if got := fmt.Sprint(traces(t)); got != "[proxy]" {
		t.Errorf("there are %s", got)
	}
}
