package resource

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseExits(t *testing.T) {
	t.Parallel()
	exits, problems := ParseExits("", []byte(`{
	// Comments are allowed.
	"office": {"type": "wireguard", "file": "/home/me/office.conf"},
	"jump": {"type": "proxy", "url": "socks5://proxy.corp:1080"},
}`))
	if len(problems) > 0 || exits["office"].File != "/home/me/office.conf" || exits["jump"].URL.Host != "proxy.corp:1080" {
		t.Fatal(exits, problems)
	}
	for text, line := range map[string]int{
		"[]":              1,
		"{\n\"a\": 7}":    2,
		"{\n\n\"a\": {}}": 3,
		`{"a": {"type": "pac", "url": "http://x/proxy.pac"}}`:               1,
		`{"a": {"type": "proxy", "url": "http://u:p@proxy:3128"}}`:          1,
		`{"a": {"type": "proxy", "url": "http://proxy/proxy.pac"}}`:         1,
		`{"a": {"type": "proxy", "file": "x", "url": "http://proxy:3128"}}`: 1,
		`{"a": {"type": "wireguard"}}`:                                      1,
		`{"a": {"type": "wireguard", "file": "f", "key": "k"}}`:             1,
		`{"a": {"type": "wireguard", "file": "f"}, "a": {"type": "proxy"}}`: 1,
	} {
		exits, problems := ParseExits("", []byte(text))
		if len(problems) == 0 || problems[0].Line != line {
			t.Errorf("%s: %v %v", text, exits, problems)
		}
	}
}

// What is wrong with an exit is told in the words that help, and without what may
// be a secret.
func TestExitTrouble(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a": {"type": "proxy", "url": "http://me:hunter2@proxy:3128"}}`: "Set Proxy Credentials",
		`{"a": {"type": "proxy", "url": "http://me:hunter2@pro xy"}}`:     "Set Proxy Credentials",
		`{"a": {"type": "pac", "url": "http://x/hunter2"}}`:               "PAC files are not supported",
		`{"a": {"type": "proxy", "url": "http://x/hunter2.PAC"}}`:         "PAC files are not supported",
		`{"a": {"type": "proxy", "url": "http://x:80/hunter2"}}`:          "must be socks5://host:port",
	} {
		_, problems := ParseExits("", []byte(text))
		if len(problems) != 1 || !strings.Contains(problems[0].Message, want) || strings.Contains(problems[0].Message, "hunter2") {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	t.Parallel()
	got, problems := ParseCredentials("", []byte(`{
	// Comments are allowed.
	"http://Proxy.corp:3128/": {"user": "me", "password": "hunter2"},
}`))
	if c := got["http://proxy.corp:3128"]; len(problems) > 0 || c.User != "me" || c.Password != "hunter2" {
		t.Fatalf("%d, %v", len(got), problems)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", got, got, got, got["http://proxy.corp:3128"]); strings.Contains(s, "hunter2") {
		t.Errorf("printed as %s", s)
	}
	long := strings.Repeat("hunter2", 40)
	for _, text := range []string{
		`["hunter2"]`, `{"hunter2": {}}`, `{"http://me:hunter2@p:1": {"user": "me", "password": "x"}}`,
		`{"http://p:1": "hunter2"}`, `{"http://p:1": {"user": "me", "hunter2": 1}}`, `{"http://p:1": {"password": "hunter2"}}`,
		`{"http://p:1": {"user": "a:b", "password": "hunter2"}}`, `{"http://p:1": {"user": "me", "password": "hunter2\n"}}`,
		`{"http://p:1": {"user": "me", "password": "` + long + `"}}`, `{"http://p:1": hunter2}`,
		`{"http://p:1": {"user": "a", "password": "hunter2"}, "http://P:1/": {"user": "a", "password": "b"}}`,
	} {
		_, problems := ParseCredentials("file", []byte(text))
		if len(problems) == 0 || strings.Contains(fmt.Sprint(problems), "hunter2") {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(`{"http://p:1": {"user": "me", "password": "x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, problems := ParseCredentials("", b)
		for _, c := range got {
			if c.User == "" || len(c.Password) > maxSecret || len(problems) == 0 && strings.ContainsAny(c.User, ":\r\n") {
				t.Errorf("%q %q", c.User, c.Password)
			}
		}
	})
}

func TestResolveByExit(t *testing.T) {
	t.Parallel()
	list, problems := Parse("", []byte(`[{"host": "*.a.test", "ports": 1, "exit": "jump", "resolve": "exit"}]`))
	if len(problems) > 0 || list[0].Resolve != ByExit {
		t.Fatal(list, problems)
	}
	other := list[0]
	other.Resolve = ""
	if other.Within(list[0]) || list[0].Within(other) {
		t.Error("who resolves is part of the approval")
	}
	if m, err := NewSet(list).Match(TCP, "x.a.test", 1); err != nil || !m.ByExit() || m.Name != "x.a.test" {
		t.Error(m, err)
	}
	for _, fields := range []string{
		`"host": "a.test", "resolve": "exit"`, `"host": "a.test", "exit": "jump", "resolve": "system"`, `"host": "a.test", "exit": "jump", "resolve": ""`,
		`"host": "10.0.0.1", "exit": "jump", "resolve": "exit"`, `"host": "10.0.0.0/8", "exit": "jump", "resolve": "exit"`,
		`"host": "a.test", "exit": "jump", "resolve": "exit", "addresses": ["10.0.0.0/8"]`,
		`"host": "localhost", "as": "me.test", "exit": "jump", "resolve": "exit"`,
	} {
		if _, problems := Parse("", []byte(`[{"ports": 1, `+fields+`}]`)); len(problems) != 1 {
			t.Error(fields, problems)
		}
	}
}

func TestExitIsPartOfTheApproval(t *testing.T) {
	t.Parallel()
	list, problems := Parse("", []byte(`[{"host": "a.test", "ports": 1}, {"host": "b.test", "ports": 1, "exit": "office"}]`))
	if len(problems) > 0 || list[1].Exit != "office" {
		t.Fatal(list, problems)
	}
	other := list[1]
	other.Exit = ""
	if other.Within(list[1]) || list[1].Within(other) || other.Equal(list[1]) {
		t.Error("another exit is another resource")
	}
	for _, text := range []string{`[{"host": "localhost", "as": "me.test", "ports": 1, "exit": "office"}]`, `[{"host": "a.test", "ports": 1, "exit": ""}]`} {
		if _, problems := Parse("", []byte(text)); len(problems) != 1 {
			t.Error(text, problems)
		}
	}
}
