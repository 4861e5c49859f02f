package lockfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := Try(filepath.Join(path, "below")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	l, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a second lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Acquire(ctx, path); !errors.Is(err, ErrHeld) {
		t.Errorf("after the wait: %v", err)
	}
	if !l.IsThere() {
		t.Error("the file is not there")
	}
	got := make(chan error)
	go func() {
		l, err := Acquire(t.Context(), path)
		if err == nil {
			l.Release()
		}
		got <- err
	}()
	l.Release()
	l.Release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if l.IsThere() {
		t.Error("the lock that was released is there")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file after Release: %v, %v", info, err)
	}
}

// A file that its holder removes is never locked by two at the same time.
func TestRemoveExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, taken atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				l, err := Try(path)
				if err != nil {
					if !errors.Is(err, ErrHeld) {
						t.Error(err)
					}
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				taken.Add(1)
				time.Sleep(20 * time.Microsecond) // the others come here if anything lets them
				inside.Add(-1)
				l.Remove()
				l.Remove()
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody got the lock")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file after Remove: %v", err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	done := make(chan struct{})
	var wg sync.WaitGroup
	whole := func(i int) string { return strings.Repeat(fmt.Sprintf("%04d", i), 8<<10) }
	if err := Replace(path, []byte(whole(0))); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			b, err := os.ReadFile(path)
			if err != nil || len(b) != 32<<10 || string(b) != strings.Repeat(string(b[:4]), 8<<10) {
				t.Errorf("a reader saw %d bytes: %v", len(b), err)
				return
			}
		}
	})
	for i := range 50 {
		if err := Replace(path, []byte(whole(i))); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Replace(filepath.Join(dir, "none", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	// A directory cannot be replaced; nothing of the attempt stays.
	if err := os.MkdirAll(filepath.Join(dir, "taken", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "taken"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
