package capturerole

import (
	"errors"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func role(t *testing.T) *Role {
	t.Helper()
	t.Setenv(daemon.DirVariable, t.TempDir()+"/run")
	r := New(zerolog.Nop(), rpc.HelperInfo{})
	t.Cleanup(func() { r.EndAll(session.ErrEnding) })
	return r
}

func (r *Role) driver() *conversation {
	return &conversation{Driver: r.NewDriver(zerolog.Nop(), nil), role: r}
}

// params asks for the session of keys, from a window, without any source.
func params(keys session.Keys, window string) rpc.CaptureOpenParams {
	id, secret := keys.Hex()
	off := rpc.SourceOff
	return rpc.CaptureOpenParams{Session: id, Secret: secret, Window: window,
		Sources: rpc.Sources{Names: off, DNS: off, Tun: off, Proxy: off}}
}

func newKeys(t *testing.T) session.Keys {
	t.Helper()
	k, err := session.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhoMayHaveASession(t *testing.T) {
	r := role(t)
	keys := newKeys(t)
	first, second := r.driver(), r.driver()
	p := params(keys, "")
	p.Resumed = true
	var e *rpc.Error
	if err := first.OpenSession(t.Context(), p); !errors.As(err, &e) || e.Code != rpc.CodeNoSession {
		t.Errorf("a session that is not there was resumed: %v", err)
	}
	p.Resumed = false
	if err := first.OpenSession(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := first.OpenSession(t.Context(), p); !errors.As(err, &e) || e.Code != rpc.CodeBusy {
		t.Errorf("a second session on one conversation: %v", err)
	}
	wrong := keys
	wrong.Secret[0]++
	if err := second.OpenSession(t.Context(), params(wrong, "")); err == nil || r.refused.Load() != 1 {
		t.Errorf("a wrong secret: %v, %d refused", err, r.refused.Load())
	}
	if st, _ := first.Status(t.Context()); st.State != rpc.StateWaiting {
		t.Errorf("after the wrong secret: %+v", st)
	}
	p.Resumed = true
	if err := second.OpenSession(t.Context(), p); err != nil {
		t.Errorf("the right secret: %v", err)
	}
	if st, _ := first.Status(t.Context()); st.State != rpc.StateClosed {
		t.Errorf("the first driver still has a session: %+v", st)
	}
	if list := r.Sessions(); len(list) != 1 || !list[0].Driven {
		t.Errorf("%+v", list)
	}
}

// A window's new session ends what the window has left waiting, and nothing else.
func TestNewSessionOfAWindow(t *testing.T) {
	r := role(t)
	left, other, driven := newKeys(t), newKeys(t), newKeys(t)
	open := func(k session.Keys, window string) *conversation {
		t.Helper()
		d := r.driver()
		if err := d.OpenSession(t.Context(), params(k, window)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	gone := []*conversation{open(left, "a"), open(other, "b")}
	open(driven, "a")
	for _, d := range gone {
		d.Leave(false)
	}
	next := newKeys(t)
	open(next, "a")
	got := map[string]bool{}
	for _, s := range r.Sessions() {
		got[s.ID] = true
	}
	for name, k := range map[string]session.Keys{"of another window": other, "with a driver": driven, "that is new": next} {
		if id, _ := k.Hex(); !got[id] {
			t.Errorf("the session %s has ended", name)
		}
	}
	if id, _ := left.Hex(); got[id] {
		t.Error("the session that its window has left goes on")
	}
}

func TestWrongParameters(t *testing.T) {
	r := role(t)
	for name, change := range map[string]func(*rpc.CaptureOpenParams){
		"session": func(p *rpc.CaptureOpenParams) { p.Session = p.Session[1:] },
		"secret":  func(p *rpc.CaptureOpenParams) { p.Secret = "" },
		"auto":    func(p *rpc.CaptureOpenParams) { p.Sources.Tun = "maybe" },
		"bridges": func(p *rpc.CaptureOpenParams) { p.Bridges = make([]string, rpc.MaxBridges+1) },
		"twice":   func(p *rpc.CaptureOpenParams) { p.Bridges = []string{"docker0", "docker0"} },
	} {
		p := params(newKeys(t), "")
		change(&p)
		if err := r.driver().OpenSession(t.Context(), p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := r.Sessions(); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}
