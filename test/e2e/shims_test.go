//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
)

// TestShimsComeAndGo kills the processes that the editor started and starts
// others: the session goes on, and one that is gone for good is told.
func TestShimsComeAndGo(t *testing.T) {
	d := drive(t)
	addr := strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 echo.corp.test"))[0]
	c, err := world.Cloud.Dial(t.Context(), "tcp", addr+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo := echoes(t, c)
	echo("at first")
	d.Capture.Kill()
	if err := d.Join(t.Context(), startHelper(t, "capture"), true); err != nil {
		t.Fatal(err)
	}
	d.link()
	echo("another shim of the capture")

	// A shim with another secret gets nothing, and does no harm.
	thief := startHelper(t, "capture")
	err = thief.Call(t.Context(), "session/open", map[string]any{"session": d.ID, "secret": strings.Repeat("00", 32), "resumed": true}, nil)
	if err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	err = thief.Call(t.Context(), "session/open", map[string]any{"session": strings.Repeat("00", 16), "secret": d.Secret, "resumed": true}, nil)
	var refused *shim.Error
	if !errors.As(err, &refused) || refused.Code != -32004 {
		t.Errorf("an unknown session: %v", err)
	}
	_ = thief.Close()
	echo("after the thief")
	eventually(t, 5*time.Second, "the thief is logged and counted", func() bool { return strings.Contains(d.Capture.Log.String(), `"refused":1`) })

	// Another user does not get to the socket.
	sockets, _ := filepath.Glob(filepath.Join(world.Info().Users[lab.Dev].Home, ".cache/causeway/run-*"))
	if len(sockets) != 1 {
		t.Fatalf("directories of helpers: %v", sockets)
	}
	other := world.Cloud.CommandAs(t.Context(), world.Info().Users["other"], helper, "sessions")
	other.Env = append(other.Env, "CAUSEWAY_RUNTIME_DIR="+sockets[0])
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("another user: %v\n%s", err, out)
	}

	// The user sees it, and can end it.
	list := mustCloud(t, 5*time.Second, helper+" sessions")
	if !strings.Contains(list, d.ID[:12]) || !strings.Contains(list, "connected") {
		t.Errorf("sessions:\n%s", list)
	}
	if status := mustCloud(t, 5*time.Second, helper+" status --json"); !strings.Contains(status, d.ID) || strings.Contains(status, d.Secret) {
		t.Errorf("status:\n%s", status)
	}
	mustCloud(t, 10*time.Second, helper+" sessions end "+d.ID[:8])
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the flow of an ended session: %v", err)
	}
	eventually(t, 2*time.Second, "the hosts file is clean", func() bool { return !strings.Contains(hostsFile(t), "echo.corp.test") })
}

// TestForgedLinks attacks the port for direct links: with nonsense, and with what
// a true gateway has said before.
func TestForgedLinks(t *testing.T) {
	d := drive(t)
	port, err := d.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	far := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ln, err := world.Laptop.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var mu sync.Mutex
	var said bytes.Buffer // by the gateway
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := world.Cloud.Dial(context.Background(), "tcp", far)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					mu.Lock()
					said.Write(buf[:n])
					mu.Unlock()
					if _, werr := s.Write(buf[:n]); err != nil || werr != nil {
						_ = s.Close()
						return
					}
				}
			}()
		}
	}()
	if err := d.Dial(t.Context(), ln.Addr().(*net.TCPAddr).Port); err != nil {
		t.Fatal(err)
	}
	d.reach("direct")
	mu.Lock()
	recorded := bytes.Clone(said.Bytes())
	mu.Unlock()
	for name, bytes := range map[string][]byte{
		"a replay":          recorded,
		"half a replay":     recorded[:len(recorded)/2],
		"nonsense":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a frame too large": {0xff, 0xff, 0xff, 0xff, 1},
		"nothing":           {},
	} {
		c, err := world.Cloud.Dial(t.Context(), "tcp", far)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(bytes)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is not refused", name)
		}
		_ = c.Close()
	}
	d.reach("direct")
	mustCloud(t, 10*time.Second, "curl -sS -o /dev/null http://web.corp.test/")
	if n := strings.Count(d.Capture.Log.String(), "direct link not taken"); n < 5 {
		t.Errorf("%d refusals are logged", n)
	}
}

// TestTwoWindows has two sessions of one laptop with one cloud. What both have is
// the older one's until it ends; each is judged by its own gateway.
func TestTwoWindows(t *testing.T) {
	const withoutDevice = `{"tun": "off"}`
	older := driveWith(t, shim.Settings{Resources: driveResources, Sources: withoutDevice})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := world.Laptop.Command(context.Background(), helper, "gateway", "--stdio")
	cmd.Env = older.Gateway.Cmd.Env
	gateway, err := shim.Start(ctx, cmd)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := shim.Open(ctx, gateway, startHelper(t, "capture"), shim.Settings{Sources: withoutDevice, Resources: `[
		{"name": "web", "host": "web.corp.test", "ports": [80]},
		{"name": "more", "host": "web.corp.test", "as": "more.corp.test", "ports": [80]}
	]`})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = newer.Close() }()
	for _, role := range []string{"gateway", "capture"} {
		if h := older.background(role); len(h.Sessions) != 2 || len(running(role, "--background")) != 1 {
			t.Errorf("one %s for both windows is wanted: %+v", role, h)
		}
	}
	note := func(s *shim.Session, name string) (state, note string) {
		t.Helper()
		st, err := s.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range st.Resources {
			if r.Name == name {
				return r.State, r.Note
			}
		}
		t.Fatalf("no %s in %+v", name, st)
		return "", ""
	}
	eventually(t, 10*time.Second, "the newer window says whose the name is", func() bool {
		state, why := note(newer, "web")
		return state == "trouble" && strings.Contains(why, "served by another window")
	})
	if state, why := note(older.Session, "web"); state != "ready" {
		t.Errorf("in the older window: %s, %s", state, why)
	}
	flows := func(s *shim.Session) int {
		t.Helper()
		st, err := s.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return st.Flows
	}
	hold := func(name string) (release func()) {
		t.Helper()
		c, err := world.Cloud.Dial(ctx, "tcp", strings.Fields(mustCloud(t, 5*time.Second, "getent ahostsv4 "+name))[0]+":80")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /slow?ms=20000 HTTP/1.1\r\nHost: x\r\n\r\n")
		return func() { _ = c.Close() }
	}
	release := hold("web.corp.test")
	eventually(t, 5*time.Second, "the older window has the flow", func() bool { return flows(older.Session) == 1 && flows(newer) == 0 })
	release()
	release = hold("more.corp.test")
	eventually(t, 5*time.Second, "the newer window has what it alone has", func() bool { return flows(older.Session) == 0 && flows(newer) == 1 })
	release()
	if err := older.Gateway.Call(ctx, "session/close", nil, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the name goes to the other", func() bool { state, _ := note(newer, "web"); return state == "ready" })
	release = hold("web.corp.test")
	eventually(t, 5*time.Second, "the newer window has the flow", func() bool { return flows(newer) == 1 })
	release()
}
