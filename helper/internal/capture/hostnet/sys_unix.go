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

// outlive makes this process ignore the signals by which a terminal ends its parent,
// and a closed pipe to the parent. So it can undo its changes after the parent has
// ended.
func outlive() { signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE) }

// ownGroup puts a child into a process group of its own, which the terminal's
// signals do not reach.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
