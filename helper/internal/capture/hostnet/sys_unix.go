//go:build unix

package hostnet

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// lock takes the exclusive lock on f, or gives up after d.
func lock(f *os.File, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return
		}
	}
}

// outlive makes this process deaf to what ends its parent from a terminal, and
// to a parent that no longer reads, so that it can undo its work after it.
func outlive() { signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE) }

// ownGroup keeps the terminal's signals from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
