package resource

import "testing"

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
