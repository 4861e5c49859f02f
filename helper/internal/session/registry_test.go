package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// work serves until it is told to end.
type work struct {
	fail chan error // ends Run

	mu    sync.Mutex
	ended string
	live  bool
}

func (w *work) Run(ctx context.Context) error {
	select {
	case err := <-w.fail:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *work) Ended(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = reason
}

func (w *work) reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

func (w *work) Status() (any, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != "" {
		return rpc.CaptureStatus{State: rpc.StateClosed, Reason: w.ended}, false
	}
	return rpc.CaptureStatus{State: rpc.StateWaiting}, w.live
}

func (w *work) Describe() daemon.Session { return daemon.Session{State: "x"} }

func registry(t *testing.T) *Registry[*work] {
	t.Helper()
	r := NewRegistry[*work](zerolog.Nop(), func(reason string) any {
		return rpc.CaptureStatus{State: rpc.StateClosed, Reason: reason}
	})
	t.Cleanup(func() {
		r.EndAll(ErrEnding)
		r.farewells.Wait()
	})
	return r
}

const resume = time.Minute

func none([]Candidate[*work]) (*Session[*work], error) { return nil, nil }

// oldest takes over the oldest session there is.
func oldest(list []Candidate[*work]) (*Session[*work], error) {
	if len(list) == 0 {
		return nil, nil
	}
	return list[0].Session, nil
}

func begin() (Spec, func(*Session[*work]) *work, error) {
	keys, err := NewKeys()
	return Spec{Role: carrier.Gateway, Keys: keys, Resume: resume}, func(*Session[*work]) *work {
		return &work{fail: make(chan error, 1)}
	}, err
}

// window is a driver with a conversation, and what was said to it.
type window struct {
	*Driver[*work]
	client *rpc.Conn
	ran    chan error

	mu   sync.Mutex
	told []string
}

func (w *window) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

func (w *window) hear(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

// handler completes a driver to what a capture serves.
type handler struct{ *Driver[*work] }

func (handler) OpenSession(context.Context, rpc.CaptureOpenParams) error { return nil }
func (handler) ListenLinks(context.Context) (rpc.DirectLink, error)      { return rpc.DirectLink{}, nil }
func (handler) Status(context.Context) (rpc.CaptureStatus, error)        { return rpc.CaptureStatus{}, nil }

func open(t *testing.T, r *Registry[*work]) *window {
	t.Helper()
	a, b := net.Pipe()
	w := &window{Driver: r.NewDriver(zerolog.Nop(), nil), ran: make(chan error, 1)}
	server := rpc.ServeCapture(rpc.NewStdio(a, a), rpc.Identity{}, handler{w.Driver})
	go func() { w.ran <- w.Run(context.Background(), server, 0) }()
	var err error
	w.client, _, err = rpc.DialCapture(t.Context(), rpc.NewStdio(b, b), rpc.ClientInfo{}, rpc.CaptureEvents{
		Status:     func(s rpc.CaptureStatus) { w.hear("%s %s", s.State, s.Reason) },
		LinkClosed: func(l rpc.LinkClosed) { w.hear("link closed: %s", l.Reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// close ends the conversation, as a reload of the window does.
func (w *window) close() {
	_ = w.client.Close()
	w.client.Wait()
	<-w.ran
}

func wantCode(t *testing.T, err error, code int64) {
	t.Helper()
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want one of code %d", err, code)
	}
}

// Many calls at once on one conversation get one session, and none is left over.
func TestOneSessionForAConversation(t *testing.T) {
	r := registry(t)
	d := r.NewDriver(zerolog.Nop(), nil)
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for range cap(results) {
		wg.Go(func() {
			_, _, err := d.Open(none, begin)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	opened := 0
	for err := range results {
		if err == nil {
			opened++
		} else {
			wantCode(t, err, rpc.CodeBusy)
		}
	}
	if list := r.Sessions(); opened != 1 || len(list) != 1 || !list[0].Driven {
		t.Errorf("%d calls opened a session; there are %+v", opened, list)
	}
}

// A conversation that ends while it opens a session leaves none behind.
func TestGoneWhileOpening(t *testing.T) {
	r := registry(t)
	d := r.NewDriver(zerolog.Nop(), nil)
	d.Leave(false)
	if _, _, err := d.Open(none, begin); err == nil || len(r.Sessions()) != 0 {
		t.Errorf("%v; there are %+v", err, r.Sessions())
	}
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t)
		first := open(t, r)
		s, resumed, err := first.Open(oldest, begin)
		if err != nil || resumed {
			t.Fatal(resumed, err)
		}
		first.close()
		if list := r.Sessions(); len(list) != 1 || list[0].Driven || list[0].ID != s.ID() {
			t.Fatalf("after the window has gone: %+v", list)
		}
		time.Sleep(resume - time.Second)
		second := open(t, r)
		again, resumed, err := second.Open(oldest, begin)
		if err != nil || !resumed || again != s {
			t.Fatal(resumed, err)
		}
		time.Sleep(resume / 2)
		if list := r.Sessions(); len(list) != 1 || !list[0].Driven {
			t.Fatalf("after it came back: %+v", list)
		}
		second.close()
		r.EndAll(ErrEnding)
	})
}

func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t)
		w := open(t, r)
		s, _, err := w.Open(none, begin)
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		time.Sleep(resume + time.Second)
		if list := r.Sessions(); len(list) != 0 || s.Work.reason() != errAbandoned.Error() {
			t.Errorf("%+v, %q", list, s.Work.reason())
		}
	})
}

func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t)
		first, second := open(t, r), open(t, r)
		s, _, err := first.Open(none, begin)
		if err != nil {
			t.Fatal(err)
		}
		if _, resumed, err := second.Open(oldest, begin); err != nil || !resumed {
			t.Fatal(resumed, err)
		}
		time.Sleep(time.Second)
		if got := first.heard(); len(got) < 2 || !slices.Equal(got[len(got)-2:], []string{"closed " + reasonTakenOver, "link closed: " + reasonTakenOver}) {
			t.Errorf("the first window heard %q", got)
		}
		if _, err := first.Session(); err == nil {
			t.Error("the first window still has a session")
		}
		// Its end is nothing to the session any more, and it may open another one.
		if _, _, err := first.Open(none, begin); err != nil {
			t.Error(err)
		}
		_ = first.CloseSession(t.Context())
		first.close()
		if list := r.Sessions(); len(list) != 1 || !list[0].Driven || list[0].ID != s.ID() {
			t.Errorf("%+v", list)
		}
		second.close()
		r.EndAll(ErrEnding)
	})
}

// A window that is frozen reads nothing. Its conversation is closed, and holds
// up nobody.
func TestTakenOverFromFrozen(t *testing.T) {
	r := registry(t)
	r.farewell = 200 * time.Millisecond
	a, b := net.Pipe() // without a reader at b
	defer b.Close()
	frozen := r.NewDriver(zerolog.Nop(), nil)
	server := rpc.ServeCapture(rpc.NewStdio(a, a), rpc.Identity{}, handler{frozen})
	ran := make(chan error, 1)
	go func() { ran <- frozen.Run(context.Background(), server, 0) }()
	for frozen.conn.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, _, err := frozen.Open(none, begin); err != nil {
		t.Fatal(err)
	}
	w := open(t, r)
	start := time.Now()
	if _, resumed, err := w.Open(oldest, begin); err != nil || !resumed || time.Since(start) > r.farewell/2 {
		t.Fatal(resumed, err, time.Since(start))
	}
	select {
	case err := <-ran:
		if err != nil {
			t.Log(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the conversation of the frozen window goes on")
	}
	for start := time.Now(); len(w.heard()) == 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("the new window hears nothing")
		}
	}
	w.close()
}

func TestEndTellsTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t)
		w := open(t, r)
		s, _, err := w.Open(none, begin)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.End("none"); !errors.Is(err, ErrUnknown) {
			t.Errorf("an unknown session: %v", err)
		}
		if err := r.End(s.ID()); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // the window hears through a pipe, which the test's clock does not know
			if len(w.heard()) >= 2 {
				break
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		got := w.heard()
		if len(got) < 2 || !strings.HasPrefix(got[len(got)-2], "closed ended by") || !strings.HasPrefix(got[len(got)-1], "link closed: ended by") {
			t.Errorf("the window heard %q", got)
		}
		// Another one may follow on the same conversation.
		s, _, err = w.Open(none, begin)
		if err != nil {
			t.Fatal(err)
		}
		s.Work.fail <- errors.New("it broke")
		synctest.Wait()
		if got := w.heard(); got[len(got)-1] != "link closed: it broke" || len(r.Sessions()) != 0 {
			t.Errorf("the window heard %q; there are %+v", got, r.Sessions())
		}
		w.close()
	})
}

// Many changes make at most four notifications per second, and none get lost.
func TestStatusIsNotifiedInModeration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t)
		w := open(t, r)
		s, _, err := w.Open(none, begin)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			s.Changed()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if n := len(w.heard()); n < 4 || n > 6 {
			t.Errorf("%d notifications in a second", n)
		}
		before := len(w.heard())
		s.Work.mu.Lock()
		s.Work.live = true
		s.Work.mu.Unlock()
		s.Changed()
		time.Sleep(10 * time.Second)
		if n := len(w.heard()) - before; n < 8 || n > 11 {
			t.Errorf("%d notifications of a live status in 10 s", n)
		}
		w.close()
		r.EndAll(ErrEnding)
	})
}

func TestSessionsAreBounded(t *testing.T) {
	r := registry(t)
	for i := range maxSessions + 1 {
		_, _, err := r.NewDriver(zerolog.Nop(), nil).Open(none, begin)
		if i < maxSessions && err != nil {
			t.Fatal(err)
		}
		if i == maxSessions {
			wantCode(t, err, rpc.CodeBusy)
		}
	}
	start := time.Now()
	r.EndAll(ErrEnding)
	if list := r.Sessions(); len(list) != 0 || time.Since(start) > CleanUpTime {
		t.Errorf("%d sessions are left after %v", len(list), time.Since(start))
	}
}

func TestExitEndsTheSession(t *testing.T) {
	r := registry(t)
	d := r.NewDriver(zerolog.Nop(), nil)
	s, _, err := d.Open(none, begin)
	if err != nil {
		t.Fatal(err)
	}
	d.Leave(true)
	if list := r.Sessions(); len(list) != 0 || s.Work.reason() != ErrDisconnected.Error() {
		t.Errorf("%+v, %q", list, s.Work.reason())
	}
}

func TestKeys(t *testing.T) {
	k, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	id, secret := k.Hex()
	back, err := ParseKeys(id, secret)
	if err != nil || back != k || !back.SecretIs(k.Secret) {
		t.Errorf("%v, %v", back, err)
	}
	other, _ := NewKeys()
	if k.SecretIs(other.Secret) {
		t.Error("two sessions have the same secret")
	}
	for _, wrong := range []string{"", "zz", id[1:], id + "00", strings.Repeat("z", len(id))} {
		if _, err := ParseKeys(wrong, secret); err == nil {
			t.Errorf("session %q", wrong)
		}
	}
	for _, wrong := range []string{"", "zz", secret[1:], secret + "00", strings.Repeat("z", len(secret))} {
		if _, err := ParseKeys(id, wrong); err == nil {
			t.Errorf("secret %q", wrong)
		}
	}
}
