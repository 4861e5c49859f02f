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
type thread int

// read fills b from the thread's memory.
func (t thread) read(addr uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(int(t), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return err
}

// write puts b into the thread's memory.
func (t thread) write(addr uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMWritev(int(t), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return err
}

// descriptor returns a descriptor of ours for the file of the thread's fd.
func (t thread) descriptor(fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(int(t), unix.O_EXCL) // PIDFD_THREAD, of Linux 6.9
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
	_, rest, _ := bytes.Cut(status, []byte("\nTgid:\t"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if pid, err := strconv.Atoi(string(line)); err == nil {
		return pid
	}
	return int(t)
}

func (t thread) path(name string) string { return fmt.Sprintf("/proc/%d/%s", t, name) }

// network identifies the network namespace that the thread is in.
func (t thread) network() string {
	id, _ := os.Readlink(t.path("ns/net"))
	return id
}

// inode returns the inode of the socket fd, 0 if fd is not a socket or cannot be
// looked up.
func (t thread) inode(fd int) uint64 {
	target, err := os.Readlink(t.path("fd/" + strconv.Itoa(fd)))
	if err != nil {
		return 0
	}
	number, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0
	}
	ino, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return ino
}
