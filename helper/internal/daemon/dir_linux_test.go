package daemon

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine that takes another name finds its helpers where they were.
func TestDirOutlivesTheHostName(t *testing.T) {
	t.Setenv(DirVariable, "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	before, err := DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		dir string
		err error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		if unix.Unshare(unix.CLONE_NEWUTS) == nil {
			_ = unix.Sethostname([]byte("causeway-renamed")) // takes root
		}
		dir, err := DefaultDir()
		got <- result{dir, err}
	}()
	if r := <-got; r.err != nil || r.dir != before {
		t.Errorf("%q, %v; was %q", r.dir, r.err, before)
	}
}
