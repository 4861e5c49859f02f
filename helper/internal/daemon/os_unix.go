//go:build unix

package daemon

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errNobody is the error of a connection to a socket without a listener.
const errNobody = syscall.ECONNREFUSED

// sharedMemory can be written to in a container whose files are read-only.
const sharedMemory = "/dev/shm"

// bases returns directories for DefaultDir, the best first. XDG_RUNTIME_DIR is not
// among them: the system removes it with the last login session, and the helper
// stays.
func bases() (dirs []string) {
	if cache, err := os.UserCacheDir(); err == nil && unix.Access(existing(cache), unix.W_OK) == nil {
		dirs = append(dirs, filepath.Join(cache, "causeway"))
	}
	own := "causeway-" + strconv.Itoa(os.Getuid())
	dirs = append(dirs, filepath.Join(os.TempDir(), own))
	if info, err := os.Stat(sharedMemory); err == nil && info.IsDir() {
		dirs = append(dirs, filepath.Join(sharedMemory, own))
	}
	return dirs
}

func checkOwner(dir string, info fs.FileInfo) error {
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != uint32(os.Getuid()) {
		return fmt.Errorf("%s belongs to user %d, not to you: another user may have put it there; remove it or set %s", dir, uid, DirVariable)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %o: others may enter it; chmod it to 700 or set %s", dir, mode, DirVariable)
	}
	return nil
}

// stillRead reports whether a process holds the other end of the pipe f. A process
// that dies closes both of its pipes: stillRead first waits 50 ms for the second.
func stillRead(f *os.File) bool {
	time.Sleep(50 * time.Millisecond)
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	read := false
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, err := unix.Poll(fds, 0)
		read = err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) == 0
	})
	return read
}

func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// admit allows this user and root.
func admit(peer uint32, own int) error {
	if peer != uint32(own) && peer != 0 {
		return fmt.Errorf("it belongs to user %d", peer)
	}
	return nil
}
