package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		_ = Serve(context.Background(), Options{Role: "capture", Dir: dir, Version: "1", Idle: time.Minute}, newEcho(), NewHub())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// helperVariable makes a test process the helper in the background.
const helperVariable = "DAEMON_TEST_DIR"

// A shim that has started the helper leaves no process behind for the first process of
// a container, which may reap none.
func TestShimReapsHelper(t *testing.T) {
	o := Options{Role: "capture", Dir: filepath.Join(t.TempDir(), "run"), Version: "1", reap: 20 * time.Second}
	f, err := Attach(t.Context(), o, "", func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperVariable+"="+o.Dir)
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	r := startRelay(t, f)
	_ = r.in.Close()
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	select {
	case <-f.helper:
	default:
		t.Error("the helper outlives the shim that started it")
	}
}

// echo is a helper that sends back what it gets.
type echo struct {
	started  atomic.Int32
	sessions atomic.Int32
	ended    chan string
	heard    chan string // what a shim said in all
}

func newEcho() *echo { return &echo{ended: make(chan string, 8), heard: make(chan string, 64)} }

func (e *echo) Start() { e.started.Add(1) }

func (e *echo) Serve(ctx context.Context, c net.Conn, setLevel func(string) error) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	var all bytes.Buffer
	_, _ = io.Copy(c, io.TeeReader(c, &all))
	e.heard <- all.String()
}

func (e *echo) Sessions() []Session {
	list := make([]Session, e.sessions.Load())
	for i := range list {
		list[i] = Session{ID: "5e55", State: "connected", Status: []byte(`{"a":1}`)}
	}
	return list
}

func (e *echo) End(id string) error {
	if id != "5e55" {
		return errors.New("no such session")
	}
	e.sessions.Store(0)
	e.ended <- id
	return nil
}

// serve runs a helper in this process; the channel gets how it ended.
func serve(t *testing.T, o Options, h Handler) (*Hub, chan error) {
	t.Helper()
	hub, ended := NewHub(), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- Serve(ctx, o, h, hub) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the helper does not end")
		}
	})
	return hub, ended
}

func options(t *testing.T) Options {
	t.Helper()
	return Options{Role: "capture", Dir: filepath.Join(t.TempDir(), "run"), Version: "1", Log: zerolog.Nop(), Idle: time.Minute}
}

// unstarted is for an Attach that finds a helper, now or in a moment.
func unstarted() *exec.Cmd { return exec.Command("true") }

// relay is a shim with pipes for stdio.
type relay struct {
	in  *os.File // the writer of stdin
	out *os.File // the reader of stdout
	log bytes.Buffer
	err chan error
}

func startRelay(t *testing.T, f *Shim) *relay {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{in: inW, out: outR, err: make(chan error, 1)}
	go func() {
		r.err <- f.Relay(context.Background(), inR, outW, &r.log)
		_ = outW.Close()
		_ = inR.Close()
	}()
	t.Cleanup(func() { _ = inW.Close(); _ = outR.Close() })
	return r
}

func (r *relay) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.err:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("the shim does not end")
		return nil
	}
}

func heard(t *testing.T, e *echo) string {
	t.Helper()
	select {
	case s := <-e.heard:
		return s
	case <-time.After(5 * time.Second):
		t.Fatal("the helper does not see the end of its shim")
		return ""
	}
}

func TestRelay(t *testing.T) {
	h, o := newEcho(), options(t)
	hub, _ := serve(t, o, h)
	f, err := Attach(t.Context(), o, "info", unstarted)
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != "1" || f.PID != os.Getpid() {
		t.Errorf("attached to %q, pid %d", f.Version, f.PID)
	}
	r := startRelay(t, f)
	_, _ = io.WriteString(r.in, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(r.out, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	_, _ = hub.Write([]byte("a line\n"))
	time.Sleep(50 * time.Millisecond)
	// Stdin ends while stdout is read: it is meant.
	_ = r.in.Close()
	if said := heard(t, h); said != "hello"+exitMessage {
		t.Errorf("the helper heard %q", said)
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if r.log.String() != "a line\n" {
		t.Errorf("log %q", r.log.String())
	}
}

func TestLostShimIsNoExit(t *testing.T) {
	h, o := newEcho(), options(t)
	serve(t, o, h)
	f, err := Attach(t.Context(), o, "", unstarted)
	if err != nil {
		t.Fatal(err)
	}
	r := startRelay(t, f)
	_ = r.in.Close()
	_ = r.out.Close() // as the death of the shim does
	if said := heard(t, h); said != "" {
		t.Errorf("the helper heard %q", said)
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestHelperEnds(t *testing.T) {
	h, o := newEcho(), options(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, o, h, NewHub()) }()
	f, err := Attach(t.Context(), o, "", unstarted)
	if err != nil {
		t.Fatal(err)
	}
	r := startRelay(t, f)
	cancel()
	if err := r.wait(t); err == nil {
		t.Error("the end of the helper is not told")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEndsWhenIdle(t *testing.T) {
	h, o := newEcho(), options(t)
	o.Idle = 200 * time.Millisecond
	h.sessions.Store(1)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), o, h, NewHub()) }()
	select {
	case err := <-ended:
		t.Fatalf("ended with a session: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	h.sessions.Store(0)
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
}

func TestOnlyOne(t *testing.T) {
	o := options(t)
	var handlers [8]*echo
	results := make(chan error, len(handlers))
	ctx, cancel := context.WithCancel(t.Context())
	for i := range handlers {
		handlers[i] = newEcho()
		go func() { results <- Serve(ctx, o, handlers[i], NewHub()) }()
	}
	for range len(handlers) - 1 {
		if err := <-results; !errors.Is(err, ErrRunning) {
			t.Fatalf("a second helper: %v", err)
		}
	}
	cancel()
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	started := int32(0)
	for _, h := range handlers {
		started += h.started.Load()
	}
	if started != 1 {
		t.Errorf("%d helpers started", started)
	}
}

// TestChurn lets helpers come and go while shims attach: whoever attaches is served.
func TestChurn(t *testing.T) {
	o := options(t)
	o.Idle = 4 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var helpers, shims sync.WaitGroup
	for range 2 {
		helpers.Go(func() {
			for ctx.Err() == nil {
				if err := Serve(ctx, o, newEcho(), NewHub()); err != nil && !errors.Is(err, ErrRunning) {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		shims.Go(func() {
			for range 20 {
				f, err := Attach(ctx, o, "", unstarted)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = f.c.Write([]byte("x"))
				var b [1]byte
				if _, err := io.ReadFull(f.c, b[:]); err != nil {
					t.Errorf("attached, but not served: %v", err)
				}
				_, _ = f.c.Close(), f.logs.Close()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	shims.Wait()
	cancel()
	helpers.Wait()
}

func TestOtherVersion(t *testing.T) {
	h, o := newEcho(), options(t)
	h.sessions.Store(1)
	_, ended := serve(t, o, h)
	newer := o
	newer.Version = "2"
	f, err := Attach(t.Context(), newer, "", unstarted)
	if err != nil || f.Version != "1" {
		t.Fatalf("a helper with a session was not attached to: %v", err)
	}
	_, _ = f.c.Close(), f.logs.Close()
	heard(t, h)
	h.sessions.Store(0)
	replaced := newEcho()
	f, err = Attach(t.Context(), newer, "", func() *exec.Cmd {
		<-ended
		ended <- nil // for the clean-up
		serve(t, newer, replaced)
		return exec.Command("true")
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != "2" {
		t.Errorf("attached to version %s", f.Version)
	}
	_, _ = f.c.Close(), f.logs.Close()
	heard(t, replaced)
}

func TestListAndEnd(t *testing.T) {
	h, o := newEcho(), options(t)
	if r, err := List(t.Context(), o); r != nil || err != nil {
		t.Fatalf("without a helper: %v, %v", r, err)
	}
	h.sessions.Store(1)
	serve(t, o, h)
	var r *Running
	for i := 0; r == nil && i < 100; i++ {
		var err error
		if r, err = List(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r == nil || len(r.Sessions) != 1 || string(r.Sessions[0].Status) != `{"a":1}` {
		t.Fatalf("%+v", r)
	}
	if err := End(t.Context(), o, "nothing"); err == nil || !strings.Contains(err.Error(), "no such session") {
		t.Errorf("end of an unknown session: %v", err)
	}
	if err := End(t.Context(), o, "5e55"); err != nil {
		t.Error(err)
	}
	if <-h.ended != "5e55" {
		t.Error("another session was ended")
	}
}

func TestBadGreetings(t *testing.T) {
	h, o := newEcho(), options(t)
	serve(t, o, h)
	f, err := Attach(t.Context(), o, "", unstarted)
	if err != nil {
		t.Fatal(err)
	}
	for _, greeting := range []string{"\n", "{}\n", "null\n", `{"mode":"serve\n`, strings.Repeat("x", maxGreeting+10), `{"mode":"log","level":"wrong"}` + "\n"} {
		c, err := net.Dial("unix", o.path(".sock"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, greeting)
		_ = c.SetReadDeadline(time.Now().Add(greetTime + 2*time.Second))
		if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 && !strings.Contains(string(b), `"error":"`) {
			t.Errorf("greeting %.40q: %q, %v", greeting, b, err)
		}
		_ = c.Close()
	}
	// The shim that was there is unharmed.
	_, _ = f.c.Write([]byte("x"))
	var b [1]byte
	if _, err := io.ReadFull(f.c, b[:]); err != nil {
		t.Error(err)
	}
	_, _ = f.c.Close(), f.logs.Close()
}

func TestFull(t *testing.T) {
	h, o := newEcho(), options(t)
	serve(t, o, h)
	var shims []*Shim
	for range maxConns / 2 {
		f, err := Attach(t.Context(), o, "", unstarted)
		if err != nil {
			t.Fatal(err)
		}
		shims = append(shims, f)
	}
	if _, err := Attach(t.Context(), o, "", unstarted); !errors.Is(err, errRefused) {
		t.Errorf("one more: %v", err)
	}
	for _, f := range shims {
		_, _ = f.c.Close(), f.logs.Close()
	}
}

// TestSlowLog wants a shim that reads no log to hold up nobody.
func TestSlowLog(t *testing.T) {
	h, o := newEcho(), options(t)
	hub, _ := serve(t, o, h)
	f, err := Attach(t.Context(), o, "", unstarted)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 1000) + "\n")
	start := time.Now()
	for range 10_000 {
		_, _ = hub.Write(line)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("10,000 lines took %v", took)
	}
	_, _ = f.c.Close(), f.logs.Close()
}

func TestOpenDirectory(t *testing.T) {
	o := options(t)
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(t.Context(), o, "", unstarted); err == nil || !strings.Contains(err.Error(), "others may enter it") {
		t.Errorf("a directory that others may enter: %v", err)
	}
	if err := Serve(t.Context(), o, newEcho(), NewHub()); err == nil {
		t.Error("served there")
	}
}
