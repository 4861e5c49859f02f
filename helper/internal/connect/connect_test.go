package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/session/capturerole"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// remoteVariable makes this program a remote's helper, which writes its process
// number to the file of that name.
const remoteVariable = "CAUSEWAY_TEST_REMOTE"

func TestMain(m *testing.M) {
	if file := os.Getenv(remoteVariable); file != "" {
		beRemote(file)
		return
	}
	goleak.VerifyTestMain(m)
}

// beRemote is a helper without a background: its sessions die with it. It ends at
// once while a file stands in its way.
func beRemote(file string) {
	if _, err := os.Stat(file + ".away"); err == nil {
		os.Exit(1)
	}
	_ = os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600)
	r := capturerole.New(zerolog.Nop(), rpc.HelperInfo{})
	_ = r.Serve(context.Background(), rpc.NewStdio(os.Stdin, os.Stdout), func(string) error { return nil })
	r.EndAll(session.ErrEnding)
}

// running is a run of connect whose remote is another process.
type running struct {
	file   string
	events chan Event
	ended  chan error
	stop   context.CancelFunc
}

func start(t *testing.T, resume time.Duration) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{file: filepath.Join(dir, "pid"), events: make(chan Event, 64), ended: make(chan error, 1)}
	t.Setenv(remoteVariable, r.file)
	t.Setenv(daemon.DirVariable, filepath.Join(dir, "run"))
	list, problems := resource.Parse("", []byte(`[{"host": "10.1.2.3", "ports": [80]}]`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	off := rpc.SourceOff
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		r.ended <- Run(ctx, Options{
			Log: zerolog.Nop(), Resume: resume, Approved: []resource.Approved{{Resource: list[0]}},
			Link:    link.Command{Args: []string{os.Args[0]}, Stderr: io.Discard},
			Sources: rpc.Sources{Names: off, DNS: off, Tun: off, Proxy: off},
			Tell:    func(ev Event) { r.events <- ev },
		})
	}()
	t.Cleanup(func() {
		r.stop()
		select {
		case err := <-r.ended:
			t.Log(err)
		case <-time.After(10 * time.Second):
			t.Error("connect does not end")
		}
	})
	return r
}

func (r *running) kill(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}

// next returns the next event of that name, and drops those before it.
func (r *running) next(t *testing.T, name string) Event {
	t.Helper()
	var before []string
	for limit := time.After(20 * time.Second); ; {
		select {
		case ev := <-r.events:
			if ev.Event == name {
				return ev
			}
			before = append(before, fmt.Sprintf("%+v", ev))
		case <-limit:
			t.Fatalf("no event %s; there were %s", name, strings.Join(before, ", "))
		}
	}
}

// The remote's helper dies, with the session. Connect starts another one and says
// so, as often as that happens.
func TestRemoteDies(t *testing.T) {
	r := start(t, time.Minute)
	r.next(t, Connected)
	for range 2 {
		r.kill(t)
		if ev := r.next(t, Reconnecting); ev.Reason == "" {
			t.Error("it is not told why")
		}
		if ev := r.next(t, Reconnected); len(ev.Notes) != 1 || ev.Notes[0] != noteAnew {
			t.Errorf("%+v", ev)
		}
	}
	r.stop()
	if ev := r.next(t, Disconnected); ev.Reason != "asked to" {
		t.Errorf("%+v", ev)
	}
}

// The remote stays away for longer than the resume limit, as after a long sleep, and
// comes back: the session is another one.
func TestRemoteIsAwayForLong(t *testing.T) {
	r := start(t, 2*time.Second)
	r.next(t, Connected)
	if err := os.WriteFile(r.file+".away", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.kill(t)
	r.next(t, Reconnecting)
	time.Sleep(2500 * time.Millisecond)
	if err := os.Remove(r.file + ".away"); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(t, Reconnected); len(ev.Notes) != 1 {
		t.Errorf("%+v", ev)
	}
}

// A remote that does not come back ends connect, with the reason.
func TestRemoteStaysAway(t *testing.T) {
	r := start(t, time.Second)
	r.next(t, Connected)
	if err := os.WriteFile(r.file+".away", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.kill(t)
	r.next(t, Disconnected)
	select {
	case err := <-r.ended:
		if err == nil {
			t.Error("that is no failure")
		}
		r.ended <- err
	case <-time.After(10 * time.Second):
		t.Error("connect goes on")
	}
}

// A remote that was never there is not waited for.
func TestRemoteWasNeverThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var told []Event
	err := Run(ctx, Options{Log: zerolog.Nop(), Resume: time.Minute, Link: link.Command{Args: []string{filepath.Join(t.TempDir(), "none")}},
		Tell: func(ev Event) { told = append(told, ev) }})
	if err == nil || errors.Is(err, context.DeadlineExceeded) || len(told) != 1 || told[0].Event != Disconnected {
		t.Errorf("%v, %+v", err, told)
	}
}
