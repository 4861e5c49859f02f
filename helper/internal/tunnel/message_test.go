package tunnel

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
)

func FuzzParseRequest(f *testing.F) {
	b, _ := appendRequest(nil, Request{Target{UDP, "dns.corp.test", 53}, Origin{"socks", "dev", 1, "dig"}})
	f.Add(b)
	ping, _ := appendRequest(nil, Request{Target{Echo, "10.0.0.1", 0}, Origin{"tun", "dev", 0, ""}})
	f.Add(ping)
	f.Add([]byte{1, 1, 0, 80, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := parseRequest(b)
		if err != nil {
			return
		}
		again, err := appendRequest(nil, r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if r2, flags, err := parseRequest(again); err != nil || flags != knowsPorts || r2.Target != r.Target {
			t.Fatalf("%+v became %+v, %v", r, r2, err)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte{3, 0, 0, 1, 'x'})
	f.Add([]byte{5, 0, 0, 2, 10, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		typ, n, err := parseHeader([headerSize]byte(b))
		if err != nil {
			return
		}
		if h := header(typ, n); !bytes.Equal(h[:], b[:headerSize]) {
			t.Fatalf("header %x became %x", b[:headerSize], h)
		}
		if _, reason, err := parseAnswer(b[headerSize:]); err == nil && strings.ContainsFunc(reason, unicode.IsControl) {
			t.Fatalf("reason %q has control characters", reason)
		}
	})
}

func TestHeaderBounds(t *testing.T) {
	for _, h := range [][headerSize]byte{{0}, {10}, {8, 0, 0, 1}, {9, 2, 0, 0}, {3, 2, 0, 1}, {6, 0, 0, 5}, {4, 0, 0, 1}, {1, 0, 4, 1}} {
		if _, _, err := parseHeader(h); err == nil {
			t.Errorf("header %v was accepted", h)
		}
	}
}

func TestCleanEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\x1b[2Jb": `a\u001b[2Jb`, "line\n": `line\u000a`, "\u202egnp": `\u202egnp`, "\xff": `\ufffd`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}
