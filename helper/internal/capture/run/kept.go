//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxKept    = 4096
	sweepEvery = 2 * time.Second
)

// keeper holds descriptors of the sockets that programs can still connect, by inode,
// on systems that forbid taking descriptors from other processes. A kept socket
// stays open. So keeper drops a socket once it is connected, is bound to a server's
// port, or is open in no process any more.
type keeper struct {
	sealed *sealed
	added  chan struct{} // has an element if a socket came since the last sweep
	mu     sync.Mutex
	open   map[uint64]keptSocket
}

type keptSocket struct {
	fd    int
	since time.Time
}

func newKeeper(sealed *sealed) *keeper {
	return &keeper{sealed: sealed, added: make(chan struct{}, 1), open: make(map[uint64]keptSocket)}
}

// add keeps a descriptor of the socket fd. If there are too many, it drops the
// oldest.
func (k *keeper) add(fd int) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.open) >= maxKept {
		var oldest uint64
		for ino, s := range k.open {
			if at, ok := k.open[oldest]; !ok || s.since.Before(at.since) {
				oldest = ino
			}
		}
		k.close(oldest)
	}
	k.open[inodeOf(own)] = keptSocket{own, time.Now()}
	select {
	case k.added <- struct{}{}:
	default:
	}
}

// dup returns another descriptor of the socket with the inode. EBADF means that the
// socket is not kept: it comes from elsewhere, or was dropped.
func (k *keeper) dup(ino uint64) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.open[ino]
	if !ok {
		return -1, unix.EBADF
	}
	return unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// drop closes our descriptor of a socket.
func (k *keeper) drop(ino uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.close(ino)
}

func (k *keeper) close(ino uint64) {
	if s, ok := k.open[ino]; ok {
		_ = unix.Close(s.fd)
		delete(k.open, ino)
	}
}

// sweepAlways drops sockets that no process has open any more, for as long as any
// are kept. It has to poll, since the kernel does not report when a program closes a
// socket.
func (k *keeper) sweepAlways() {
	for pause := sweepEvery; ; {
		k.mu.Lock()
		none := len(k.open) == 0
		k.mu.Unlock()
		if none {
			<-k.added
		}
		time.Sleep(pause)
		start := time.Now()
		k.sweep(start.Add(-sweepEvery / 2))
		pause = max(sweepEvery, 50*time.Since(start)) // at most a fiftieth of a processor
	}
}

// sweep looks at the sockets that were made before a moment. A younger one may not
// have reached its program yet.
func (k *keeper) sweep(before time.Time) {
	k.mu.Lock()
	lost := make(map[uint64]bool)
	for ino, s := range k.open {
		if s.since.Before(before) {
			lost[ino] = true
		}
	}
	k.mu.Unlock()
	if len(lost) == 0 {
		return
	}
	own := strconv.Itoa(os.Getpid())
	processes, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range processes {
		if strings.HasPrefix(dir, "/proc/"+own+"/") {
			continue
		}
		d, err := os.Open(dir)
		if err != nil {
			continue
		}
		names, _ := d.Readdirnames(-1)
		_ = d.Close()
		for _, name := range names {
			target, _ := os.Readlink(dir + "/" + name)
			if number, ok := strings.CutPrefix(target, "socket:["); ok {
				ino, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
				delete(lost, ino)
			}
		}
	}
	k.sealed.each(func(ino uint64) { delete(lost, ino) })
	for ino := range lost {
		k.drop(ino)
	}
}
