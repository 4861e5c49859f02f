//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxSealed bounds the processes of sealed.
const maxSealed = 256

// sealed are processes into which a supervisor without CAP_SYS_PTRACE cannot look any
// more, since they have changed their user or forbidden it. The memory was opened
// before, and stays open until the process executes a program. nil has none.
type sealed struct {
	mu sync.Mutex
	of map[int]*seal // by process
}

type seal struct {
	memory  int            // descriptor of /proc/PID/mem
	network string         // namespace
	sockets map[int]uint64 // inodes by descriptor, as far as the supervisor knows
}

// keep opens the memory of a thread's process, which is about to be sealed.
func (s *sealed) keep(t thread) {
	if s == nil {
		return
	}
	memory, err := t.openMemory()
	if err != nil {
		return // it is sealed already
	}
	pid, network, sockets := t.process(), t.network(), make(map[int]uint64)
	entries, _ := os.ReadDir(t.path("fd"))
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			if ino := t.inode(fd); ino != 0 {
				sockets[fd] = ino
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[int]*seal)
	}
	s.prune()
	if _, known := s.of[pid]; !known && len(s.of) >= maxSealed {
		_ = unix.Close(memory)
		return
	}
	s.drop(pid)
	s.of[pid] = &seal{memory, network, sockets}
}

// memory returns a descriptor of the memory of a sealed process.
func (s *sealed) memory(pid int) (int, bool) {
	if s == nil {
		return -1, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of[pid]
	if known == nil {
		return -1, false
	}
	if n, err := unix.Pread(known.memory, make([]byte, 1), 0); n == 0 && err == nil {
		s.drop(pid) // the memory is gone: the process has executed a program
		return -1, false
	}
	fd, err := unix.FcntlInt(uintptr(known.memory), unix.F_DUPFD_CLOEXEC, 0)
	return fd, err == nil
}

// network returns the network namespace of a sealed process, "" if it is not known.
func (s *sealed) network(pid int) string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.of[pid]; known != nil {
		return known.network
	}
	return ""
}

// inode returns the socket that a sealed process has had at fd, 0 if none is known.
func (s *sealed) inode(pid, fd int) uint64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.of[pid]; known != nil {
		return known.sockets[fd]
	}
	return 0
}

// given calls give, which gives a process the socket with the inode at the descriptor
// that it returns.
func (s *sealed) given(pid int, ino uint64, give func() (int, unix.Errno)) unix.Errno {
	s.mu.Lock()
	known := s.of[pid]
	if known == nil {
		s.mu.Unlock()
		_, errno := give()
		return errno
	}
	defer s.mu.Unlock() // the process asks for the socket as soon as it has it
	fd, errno := give()
	if errno == 0 {
		known.sockets[fd] = ino
	}
	return errno
}

// each calls f with the sockets of sealed processes.
func (s *sealed) each(f func(ino uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prune()
	for _, known := range s.of {
		for _, ino := range known.sockets {
			f(ino)
		}
	}
}

// prune drops processes that are gone. The caller holds the lock.
func (s *sealed) prune() {
	for pid := range s.of {
		if unix.Access("/proc/"+strconv.Itoa(pid), unix.F_OK) != nil {
			s.drop(pid)
		}
	}
}

func (s *sealed) drop(pid int) {
	if known := s.of[pid]; known != nil {
		_ = unix.Close(known.memory)
		delete(s.of, pid)
	}
}

// openMemory opens the memory of the thread's process.
func (t thread) openMemory() (fd int, err error) {
	open := func() { fd, err = unix.Open(t.path("mem"), unix.O_RDWR|unix.O_CLOEXEC, 0) }
	if open(); err == unix.EACCES || err == unix.EPERM {
		t.asUser(open)
	}
	return fd, err
}

// asUser calls f with the rights of the thread's user for files, if this process is
// root's. A root without CAP_SYS_PTRACE cannot look into the processes of others.
func (t thread) asUser(f func()) {
	status, err := os.ReadFile(t.path("status"))
	uid, gid := firstNumber(status, "Uid"), firstNumber(status, "Gid")
	if err != nil || os.Geteuid() != 0 || uid <= 0 {
		return
	}
	runtime.LockOSThread()
	own := unix.Getegid()
	if unix.Setfsgid(gid) == nil && unix.Setfsuid(uid) == nil {
		f()
	}
	_, _ = unix.Setfsuid(0), unix.Setfsgid(own)
	if back, _ := unix.SetfsuidRetUid(-1); back == 0 {
		runtime.UnlockOSThread() // else the thread ends with the goroutine
	}
}

// moveByFile is move by /proc/PID/mem, for places that forbid process_vm_readv.
func (t thread) moveByFile(write bool, b []byte, there []unix.RemoteIovec) error {
	fd, ok := t.sealed.memory(t.process())
	if !ok {
		var err error
		if fd, err = t.openMemory(); err != nil {
			return unix.EPERM
		}
	}
	defer func() { _ = unix.Close(fd) }()
	for _, v := range there {
		part := b[:min(len(b), v.Len)]
		b = b[len(part):]
		for at := int64(v.Base); len(part) > 0; {
			call := unix.Pread
			if write {
				call = unix.Pwrite
			}
			n, err := call(fd, part, at)
			if err != nil || n == 0 {
				return unix.EFAULT
			}
			part, at = part[n:], at+int64(n)
		}
	}
	if len(b) > 0 {
		return unix.EFAULT
	}
	return nil
}
