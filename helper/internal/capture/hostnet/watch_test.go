//go:build linux

package hostnet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPutBack(t *testing.T) {
	for _, poll := range []string{"often", "never"} {
		t.Run(poll, func(t *testing.T) { putBack(t, poll) })
	}
}

// putBack changes the hosts file while a block of ours is in it.
func putBack(t *testing.T, poll string) {
	path := hostsFile(t, original)
	o := options(path)
	o.Env = append(o.Env, "HOSTNET_TEST_POLL="+poll)
	h, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.SetHosts(t.Context(), entries("db.test")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("rewritten\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back into the rewritten file", func() bool {
		s := read(t, path)
		return strings.HasPrefix(s, "rewritten\n") && strings.Contains(s, "db.test")
	})
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte("replaced\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back into the replaced file", func() bool {
		s := read(t, path)
		return strings.HasPrefix(s, "replaced\n") && strings.Contains(s, "db.test")
	})
	if err := os.WriteFile(path, []byte("rewritten again\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back into the file that came in its place", func() bool {
		s := read(t, path)
		return strings.HasPrefix(s, "rewritten again\n") && strings.Contains(s, "db.test")
	})
	// Written by another path, as a bind mount is: the directory does not tell.
	other := filepath.Join(t.TempDir(), "hosts")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("from elsewhere\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back into the file that was written elsewhere", func() bool {
		s := read(t, path)
		return strings.HasPrefix(s, "from elsewhere\n") && strings.Contains(s, "db.test")
	})
	_ = h.Close()
	if got := read(t, path); got != "from elsewhere\n" {
		t.Errorf("%q", got)
	}
}

// A line that had the name before neither hides it nor is lost, and is reported.
func TestOverruled(t *testing.T) {
	const before = "127.0.0.1 localhost\n10.0.0.5 db.test old\n10.0.0.6 other"
	path := hostsFile(t, before)
	h, err := Start(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.SetHosts(t.Context(), entries("git.test")); err != nil || len(h.Overruled()) != 0 {
		t.Errorf("%q %v", h.Overruled(), err)
	}
	if err := h.SetHosts(t.Context(), entries("git.test", "db.test")); err != nil || len(h.Overruled()) != 1 || h.Overruled()[0] != "db.test" {
		t.Errorf("%q %v", h.Overruled(), err)
	}
	if s := read(t, path); !strings.HasPrefix(s, "127.0.0.1 localhost\n# BEGIN causeway ") || !strings.HasSuffix(s, "\n10.0.0.5 db.test old\n10.0.0.6 other") {
		t.Errorf("%q", s)
	}
	_ = h.Close()
	if s := read(t, path); s != before {
		t.Errorf("%q", s)
	}
}

func TestWatchConcerns(t *testing.T) {
	event := func(name string) []byte {
		b := make([]byte, 16, 48)
		if name != "" {
			b[12] = 32
			b = append(b, make([]byte, 32)...)
			copy(b[16:], name)
		}
		return b
	}
	w := &watch{paths: []string{"/etc/hosts", "/etc/resolv.conf"}}
	for name, want := range map[string]bool{"hosts": true, "resolv.conf": true, "hosts.new": false, "passwd": false, "": true} {
		if got := w.concerns(event(name)); got != want {
			t.Errorf("%q: %v", name, got)
		}
		if !w.concerns(append(event(name), event("hosts")...)) {
			t.Errorf("%q hides what follows", name)
		}
	}
	if w.concerns(nil) || !w.concerns(event("passwd")[:20]) {
		t.Error("of no event, or of one that is cut")
	}
}
