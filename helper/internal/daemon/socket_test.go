package daemon

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A user who empties the folder for caches does not orphan the helper.
func TestSocketIsMadeAgain(t *testing.T) {
	for name, remove := range map[string]func(Options) error{
		"socket":    func(o Options) error { return os.Remove(o.path(".sock")) },
		"lock":      func(o Options) error { return errors.Join(os.Remove(o.path(".sock")), os.Remove(o.path(".lock"))) },
		"directory": func(o Options) error { return os.RemoveAll(o.Dir) },
		"all above": func(o Options) error { return os.RemoveAll(filepath.Dir(o.Dir)) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Dir = filepath.Join(o.Dir, "below")
			h := newEcho()
			h.sessions.Store(1)
			_, ended := serve(t, o, h)
			for start := time.Now(); ; time.Sleep(time.Millisecond) {
				if _, err := os.Stat(o.path(".sock")); err == nil {
					break
				} else if time.Since(start) > 5*time.Second {
					t.Fatal(err)
				}
			}
			if err := remove(o); err != nil {
				t.Fatal(err)
			}
			shim, err := Attach(t.Context(), o, "", unstarted)
			if err != nil {
				t.Fatal(err)
			}
			if shim.PID != os.Getpid() || h.started.Load() != 1 {
				t.Errorf("attached to another helper: pid %d", shim.PID)
			}
			if err := Serve(t.Context(), o, newEcho(), NewHub()); !errors.Is(err, ErrRunning) {
				t.Errorf("a second helper: %v", err)
			}
			_, _ = shim.c.Write([]byte("x"))
			if _, err := io.ReadFull(shim.c, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			_, _ = shim.c.Close(), shim.logs.Close()
			select {
			case err := <-ended:
				t.Fatalf("the helper has ended: %v", err)
			default:
			}
		})
	}
}
