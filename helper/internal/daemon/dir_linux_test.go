package daemon

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// In a container whose files are read-only, the helper's socket is in /dev/shm.
func TestDirOfReadOnlyContainer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file") // below a file there is no folder
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"XDG_CACHE_HOME", "TMPDIR"} {
		t.Setenv(name, file)
	}
	t.Setenv(DirVariable, "")
	if dir, err := DefaultDir(); err != nil || !strings.HasPrefix(dir, "/dev/shm/causeway-") {
		t.Errorf("%q, %v", dir, err)
	}
}
