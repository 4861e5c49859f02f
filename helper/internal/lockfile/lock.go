// Package lockfile keeps two processes from doing the same thing at the same
// time: locks that end with their process, and replacement of whole files. It
// knows nothing of what the files are for.
package lockfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// ErrHeld reports that another process, or another Lock of this one, holds the
// lock.
var ErrHeld = errors.New("another program holds the lock")

// pollEvery is how often Acquire looks again: no system tells when a lock of a
// file becomes free, except by a wait that a context cannot end.
const pollEvery = 10 * time.Millisecond

// Lock is an exclusive lock of a file. The system releases it when the process
// ends, however it ends.
type Lock struct{ f *flock.Flock }

// Try locks the file path, and creates it with mode 0600 if it does not exist.
// The error is ErrHeld if the lock is not free. The error wraps fs.ErrNotExist
// if the file's directory does not exist.
func Try(path string) (*Lock, error) {
	for {
		f := flock.New(path, flock.SetPermissions(0o600))
		held, err := f.TryLock()
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !held {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ErrHeld)
		}
		// The holder before may have removed the file after this process had
		// opened it. Then the lock is of a file that nobody else can find.
		ours, err := f.Stat()
		there, errThere := os.Stat(path)
		if err == nil && errThere == nil && os.SameFile(ours, there) {
			return &Lock{f}, nil
		}
		_ = f.Close()
	}
}

// Acquire is Try, but waits for the lock until ctx ends.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for {
		l, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pollEvery):
		}
	}
}

// IsThere reports whether the file that is locked is still at its path. If it is not,
// another process can lock a file there.
func (l *Lock) IsThere() bool {
	ours, err := l.f.Stat()
	there, errThere := os.Stat(l.f.Path())
	return l.f.Locked() && err == nil && errThere == nil && os.SameFile(ours, there)
}

// Release gives the lock up. The file stays. A second call does nothing.
func (l *Lock) Release() { _ = l.f.Close() }

// Remove removes the file and gives the lock up. A process that has opened the
// file before it was removed does not get the lock of it.
func (l *Lock) Remove() {
	if l.f.Locked() {
		_ = os.Remove(l.f.Path())
	}
	_ = l.f.Close()
}
