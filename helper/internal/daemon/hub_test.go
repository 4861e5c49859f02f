package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// leveller is a helper whose drivers set their level by saying its name.
type leveller struct{ *echo }

func (leveller) Serve(_ context.Context, c net.Conn, setLevel func(string) error) {
	for {
		name := make([]byte, 5)
		if _, err := io.ReadFull(c, name); err != nil {
			return
		}
		answer := "ok\n"
		if err := setLevel(strings.TrimSpace(string(name))); err != nil {
			answer = "no\n"
		}
		_, _ = io.WriteString(c, answer)
	}
}

// safeBuffer is a buffer that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// The level that one window sets is its own: the others get what they did before.
func TestLevelsOfShims(t *testing.T) {
	o := options(t)
	hub, _ := serve(t, o, leveller{newEcho()})
	log := zerolog.New(hub).Sample(hub)
	if log.Error().Enabled() {
		t.Error("events are made that nobody reads")
	}
	type window struct {
		shim    *Shim
		in, out *os.File
		log     safeBuffer
	}
	var windows [2]window
	var wg sync.WaitGroup
	for i := range windows {
		w := &windows[i]
		var err error
		if w.shim, err = Attach(t.Context(), o, "", unstarted); err != nil {
			t.Fatal(err)
		}
		inR, inW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.in, w.out = inW, outR
		wg.Go(func() {
			_ = w.shim.Relay(context.Background(), inR, outW, &w.log)
			_, _ = inR.Close(), outW.Close()
		})
	}
	set := func(w *window, level, want string) {
		t.Helper()
		_, _ = io.WriteString(w.in, (level + "     ")[:5])
		got := make([]byte, 3)
		if _, err := io.ReadFull(w.out, got); err != nil || string(got) != want+"\n" {
			t.Fatalf("%s: %q, %v", level, got, err)
		}
	}
	set(&windows[0], "debug", "ok")
	set(&windows[1], "error", "ok")
	set(&windows[1], "loud", "no")
	log.Debug().Msg("fine")
	log.Warn().Msg("careful")
	log.Error().Msg("wrong")
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if strings.Contains(windows[0].log.String(), "wrong") && strings.Contains(windows[1].log.String(), "wrong") {
			break
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("the lines do not arrive")
		}
	}
	for i, want := range []string{"fine careful wrong", "wrong"} {
		for _, word := range []string{"fine", "careful", "wrong"} {
			if got := strings.Contains(windows[i].log.String(), word); got != strings.Contains(want, word) {
				t.Errorf("window %d, line %q: %v", i, word, got)
			}
		}
	}
	for i := range windows {
		_, _ = windows[i].in.Close(), windows[i].out.Close()
	}
	wg.Wait()
}
