package pairing

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home gives the test a folder for settings of its own.
func home(t *testing.T) {
	t.Helper()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
}

func TestPairingIsKept(t *testing.T) {
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.allow("https://a.test"); err != nil {
		t.Fatal(err)
	}
	again, err := Open()
	if err != nil || again.Token() != p.Token() || len(p.Token()) < 20 || !again.knows("https://a.test") || again.knows("https://b.test") {
		t.Errorf("%+v, %v", again, err)
	}
	if info, err := os.Stat(p.path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, damaged := range []string{"", "{}", `{"token":"short"}`, "x"} {
		if err := os.WriteFile(p.path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}

func TestAddressesAndOrigins(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:7741": true, "[::1]:0": true, "127.8.8.8:1": true,
		"0.0.0.0:7741": false, "192.0.2.1:7741": false, "localhost:7741": false, ":7741": false, "127.0.0.1": false, "": false} {
		if err := CheckAddress(addr); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
	for origin, ok := range map[string]bool{"https://name.github.dev": true, "http://localhost:8080": true,
		"https://name.github.dev/": false, "name.github.dev": false, "file:///x": false, "https://": false, "https://a@b.test": false, "": false} {
		if err := CheckOrigins([]string{origin}); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
}

// A port that is taken comes with the way to another one.
func TestPortIsTaken(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = Listen(t.Context(), ln.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "causeway.localHelperPort") {
		t.Error(err)
	}
	if _, err := Listen(t.Context(), "192.0.2.1:0"); err == nil || strings.Contains(err.Error(), "in use") {
		t.Errorf("an address of another machine: %v", err)
	}
}

// asker answers for the user.
type asker struct {
	answer string
	asked  []string
}

func (a *asker) Ask(_ context.Context, question string, _ ...string) (string, error) {
	a.asked = append(a.asked, question)
	if a.answer == "" {
		return "", errors.New("nobody is there")
	}
	return a.answer, nil
}

func TestAdmit(t *testing.T) {
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	user := &asker{}
	l := &Listener{Log: zerolog.Nop(), Pairing: p, User: user, Origins: []string{"https://given.test"}}
	if err := l.Admit(t.Context(), "https://given.test"); err != nil || len(user.asked) > 0 {
		t.Errorf("an origin of the command line: %v, asked %q", err, user.asked)
	}
	for _, answer := range []string{"", "no"} {
		user.answer = answer
		if err := l.Admit(t.Context(), "https://new.test"); err == nil || p.knows("https://new.test") {
			t.Errorf("the answer %q admits", answer)
		}
	}
	user.answer = "yes"
	if err := l.Admit(t.Context(), "https://new.test"); err != nil || !p.knows("https://new.test") {
		t.Error(err)
	}
	asked := len(user.asked)
	if err := l.Admit(t.Context(), "https://new.test"); err != nil || len(user.asked) != asked {
		t.Errorf("%v, asked again", err)
	}
	user.answer = "no"
	_ = l.Admit(t.Context(), "https://\x1b[2Jevil.test")
	if last := user.asked[len(user.asked)-1]; strings.Contains(last, "\x1b") {
		t.Errorf("%q", last)
	}
}

// listen starts a listener whose pages are served until they end.
func listen(t *testing.T, l *Listener) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Port = ln.Addr().(*net.TCPAddr).Port
	if l.Serve == nil {
		l.Serve = func(_ context.Context, p rpc.Pipe, _ string) {
			for {
				if _, _, err := p.Read(); err != nil {
					_ = p.Close()
					return
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the listener does not end")
		}
	})
	return ln.Addr().String()
}

func TestPagesAreRefused(t *testing.T) {
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Log: zerolog.Nop(), Pairing: p, Origins: []string{"https://given.test"}}
	at := listen(t, l)
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	for _, tc := range []struct {
		host, origin string
		want         int
	}{
		{at, "https://other.test", http.StatusForbidden},
		{at, "", http.StatusForbidden},
		{at, "null", http.StatusForbidden},
		{"rebound.test", "https://given.test", http.StatusForbidden},
		{"127.0.0.1:1", "https://given.test", http.StatusForbidden},
		{at, "https://given.test", http.StatusUpgradeRequired}, // passed; it is no WebSocket
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tc.host
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		w, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, w.Body)
		_ = w.Body.Close()
		if w.StatusCode != tc.want {
			t.Errorf("host %q, origin %q: %d, want %d", tc.host, tc.origin, w.StatusCode, tc.want)
		}
	}
}

// Pages without end get an answer and no slot, and leave nothing behind.
func TestPagesAreBounded(t *testing.T) {
	home(t)
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	const origin = "https://given.test"
	at := listen(t, &Listener{Log: zerolog.Nop(), Pairing: p, Origins: []string{origin}})
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	o := &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Origin": {origin}}}
	m := hostile.NewMeter(t)
	var pages []*websocket.Conn
	for i := range 2 * maxWebSockets {
		c, r, err := websocket.Dial(t.Context(), "ws://"+at, o)
		if err == nil {
			pages = append(pages, c)
			continue
		}
		if i < maxWebSockets || r == nil || r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("page %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	if len(pages) != maxWebSockets {
		t.Errorf("%d pages are served", len(pages))
	}
	for _, c := range pages {
		_ = c.CloseNow()
	}
	m.Settles(hostile.Usage{Goroutines: 2, Heap: 1 << 20, Descriptors: 2})
}
