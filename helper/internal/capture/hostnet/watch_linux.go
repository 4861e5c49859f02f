package hostnet

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// watchPause is the shortest time between two reports of a watch. It bounds the work
// if we and another program rewrite a file in turns.
const watchPause = 100 * time.Millisecond

// watch reports changes of files by inotify.
type watch struct {
	changed chan struct{} // has an element if a file may have changed since the last one
	file    *os.File
	paths   []string
	quit    chan struct{}
	done    chan struct{}
}

// watchFiles starts a watch. It returns nil if the kernel cannot watch.
//
// It watches the files themselves, since in a container they are bind mounts, and
// their directories, since elsewhere programs replace the files by renaming. It
// waits until the writer closes the file: an edit before that would mix two
// contents.
func watchFiles(paths ...string) *watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	w := &watch{changed: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "inotify"), paths: paths,
		quit: make(chan struct{}), done: make(chan struct{})}
	for _, path := range paths {
		if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO); err != nil {
			_ = w.file.Close()
			return nil
		}
	}
	w.watchInodes()
	go w.serve()
	return w
}

// watchInodes watches the files that the paths lead to now.
func (w *watch) watchInodes() {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, path := range w.paths {
			_, _ = unix.InotifyAddWatch(int(fd), path, unix.IN_CLOSE_WRITE) // one that is missing has its directory
		}
	})
}

func (w *watch) serve() {
	defer close(w.done)
	b := make([]byte, 4<<10)
	for {
		n, err := w.file.Read(b)
		if err != nil {
			return
		}
		if !w.concerns(b[:n]) {
			continue
		}
		w.watchInodes()
		select {
		case w.changed <- struct{}{}:
		default:
		}
		select {
		case <-time.After(watchPause):
		case <-w.quit:
			return
		}
	}
}

// concerns tells whether one of the events is about a file of ours. Events of a file
// that is watched itself have no name.
func (w *watch) concerns(b []byte) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		size := int(binary.NativeEndian.Uint32(b[12:]))
		if unix.SizeofInotifyEvent+size > len(b) {
			return true
		}
		name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
		if name == "" {
			return true
		}
		for _, path := range w.paths {
			if filepath.Base(path) == name {
				return true
			}
		}
		b = b[unix.SizeofInotifyEvent+size:]
	}
	return false
}

// events returns the channel of the reports; nil if w is nil.
func (w *watch) events() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.changed
}

// close ends the watch and waits for its goroutine.
func (w *watch) close() {
	if w == nil {
		return
	}
	close(w.quit)
	_ = w.file.Close()
	<-w.done
}
