package nethost

import (
	"strings"
	"testing"
	"unicode"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "A.Test.": "a.test", "a_b.test": "a_b.test", "r3---x.test": "r3---x.test", "1.a": "1.a",
		"straße.example": "xn--strae-oqa.example", "a。test": "a.test", "ａ.test": "a.test",
		"10.1.2.3": "10.1.2.3", "::1": "::1", "::ffff:1.2.3.4": "1.2.3.4", "::FFFF:0102:0304": "1.2.3.4", "64:ff9b::1.2.3.4": "64:ff9b::102:304",
		"": "", ".": "", "..": "", "a..b": "", "a.": "a", "a..": "", "-a.b": "", "a-.b": "", "a b": "", "a\x00b": "", "a/b": "", "a@b": "", "*.a": "", "a:80": "",
		"127.1": "", "127.0.1": "", "0x7f.1": "", "0x7f000001": "", "0X7F.0.0.1": "", "017700000001": "", "0177.0.0.1": "", "2130706433": "",
		"1.2.3.4.": "", "1.2.3.4.5": "", "1.2.3.256": "", "a.1": "", "a.0x": "", "１２７.0.0.1": "", "127。0。0。1": "", "①.②": "",
		"::1%lo": "", "::1%": "", "[::1]": "", "[::1": "", "1::2::3": "", "xn--a": "", "xn--": "", "\u202ea.test": "",
	} {
		h, err := Parse(in)
		got := h.Name
		if h.Addr.IsValid() {
			got += h.Addr.String()
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a.test", "127.1", "::ffff:1.2.3.4", "bücher.example", "xn--bcher-kva.example", "fe80::1%1", "1.2.3.4.", "a_b-c.d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err != nil {
			if text := err.Error(); len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q: error %q is not fit to be shown", s, text)
			}
			return
		}
		name, addr := h.Name, h.Addr
		if (name == "") != addr.IsValid() || addr.Zone() != "" || addr.Is4In6() {
			t.Fatalf("%q: %q and %v", s, name, addr)
		}
		if name != "" {
			if again, err := Parse(name); again.Name != name || err != nil {
				t.Fatalf("%q: %q becomes %q, %v", s, name, again, err)
			}
			if len(name) > MaxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
				t.Fatalf("%q: %q is no host name", s, name)
			}
		}
	})
}

func TestSelf(t *testing.T) {
	for in, want := range map[string]bool{
		"localhost": true, "LocalHost.": true, "a.localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "0.0.0.0": true, "::": true,
		"::ffff:127.0.0.1": true, "64:ff9b::7f00:1": true, "0.1.2.3": true,
		"a.test": false, "localhost.test": false, "10.0.0.1": false, "notlocalhost": false,
	} {
		h, err := Parse(in)
		if err != nil || h.IsSelf() != want {
			t.Errorf("%s: %v, %v", in, h.IsSelf(), err)
		}
	}
	if (Host{}).IsSelf() {
		t.Error("no host is this machine")
	}
}
