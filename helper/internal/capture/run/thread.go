//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// thread is a thread of the tree, which waits in a call.
type thread struct {
	id     int
	sealed *sealed
}

// read fills b from the thread's memory.
func (t thread) read(addr uint64, b []byte) error {
	return t.move(false, b, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}})
}

// write puts b into the thread's memory.
func (t thread) write(addr uint64, b []byte) error {
	return t.move(true, b, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}})
}

// move copies the thread's memory at there to b, or b to there if write is set.
func (t thread) move(write bool, b []byte, there []unix.RemoteIovec) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	call := unix.ProcessVMReadv
	if write {
		call = unix.ProcessVMWritev
	}
	n, err := call(t.id, local, there, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return t.moveByFile(write, b, there)
	}
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return err
}

// descriptor returns a descriptor of ours for the file of the thread's fd.
func (t thread) descriptor(fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(t.id, unix.O_EXCL) // PIDFD_THREAD, of Linux 6.9
	if errors.Is(err, unix.EINVAL) {
		pidfd, err = unix.PidfdOpen(t.process(), 0)
	}
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(pidfd) }()
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// process is the process of the thread.
func (t thread) process() int {
	status, _ := os.ReadFile(t.path("status"))
	if pid := firstNumber(status, "Tgid"); pid >= 0 {
		return pid
	}
	return t.id
}

// firstNumber returns the first number of a line of /proc/PID/status, -1 if there is
// none.
func firstNumber(status []byte, name string) int {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name+":\t"))
	word := rest[:max(0, bytes.IndexAny(rest, "\t\n"))]
	if n, err := strconv.Atoi(string(word)); err == nil {
		return n
	}
	return -1
}

func (t thread) path(name string) string { return fmt.Sprintf("/proc/%d/%s", t.id, name) }

// network identifies the network namespace that the thread is in.
func (t thread) network() string {
	var id string
	var err error
	look := func() { id, err = os.Readlink(t.path("ns/net")) }
	if look(); errors.Is(err, os.ErrPermission) {
		t.asUser(look)
	}
	if errors.Is(err, os.ErrPermission) {
		return t.sealed.network(t.process())
	}
	return id
}

// inode returns the inode of the socket fd, 0 if fd is not a socket or cannot be
// looked up.
func (t thread) inode(fd int) uint64 {
	var target string
	var err error
	look := func() { target, err = os.Readlink(t.path("fd/" + strconv.Itoa(fd))) }
	if look(); errors.Is(err, os.ErrPermission) {
		t.asUser(look)
	}
	if errors.Is(err, os.ErrPermission) {
		return t.sealed.inode(t.process(), fd)
	}
	number, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0
	}
	ino, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return ino
}
