//go:build linux

package containers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const resources = `[
	{"name": "web", "host": "web.corp.test", "ports": [80]},
	{"name": "apps", "host": "*.apps.corp.test", "ports": [80]},
	{"name": "servers", "host": "10.77.0.0/28", "ports": [7, 80], "protocols": ["tcp", "udp"]},
]`

// event is a line of connect --events=json.
type event struct {
	Event, Proxy string
	Resources    []struct {
		Name    string
		Served  []string
		Trouble string
	}
	Notes []string
}

// session is a causeway connect on laptop.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	first  event
	events chan event
	log    *lockedBuffer
	over   bool
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// connect connects b as docs/containers.md tells users.
func connect(t *testing.T, b *running) *session {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resources.json")
	if err := os.WriteFile(file, []byte(resources), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"connect", "--resources", file, "--events=json", "--"}, b.engine.cli...)
	argv = append(argv, "exec", "-i", b.name, "causeway", "capture", "--stdio")
	s := &session{t: t, cmd: world.Laptop.Command(context.Background(), helper, argv...), events: make(chan event, 100), log: new(lockedBuffer)}
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("event %q: %v", lines.Text(), err)
			}
			s.events <- e
		}
	}()
	t.Cleanup(s.stop)
	s.first = s.await("connected")
	return s
}

// await waits for an event.
func (s *session) await(name string) event {
	s.t.Helper()
	limit := time.After(40 * time.Second)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				s.t.Fatalf("connect ended before it was %s\n%s", name, s.log)
			}
			if e.Event == name {
				return e
			}
		case <-limit:
			s.t.Fatalf("not %s\n%s", name, s.log)
		}
	}
}

// stop ends connect as Ctrl-C does.
func (s *session) stop() {
	if s.over {
		return
	}
	s.over = true
	_ = s.cmd.Process.Signal(os.Interrupt)
	dead := time.AfterFunc(15*time.Second, func() {
		s.t.Errorf("connect did not end")
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	})
	_ = s.cmd.Wait()
	dead.Stop()
	if s.t.Failed() {
		s.t.Logf("log of connect:\n%s", s.log)
	}
}
