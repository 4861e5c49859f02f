package owner

import (
	"math"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one search, and of all searches per second: finding a process must cost
// less than its connection. One look is one descriptor; a process counts as
// lookPerPID looks.
const (
	maxLooks   = 2000
	mustLooks  = 200_000 // where it has to be found
	looksASec  = 5000    // about a hundredth of a processor
	maxRecent  = 16
	lookPerPID = 8
)

// finder finds the process that has a socket, among the processes whose descriptors
// this user may list.
type finder struct {
	recent []int // pids that had one, the latest first
	looks  float64
	at     time.Time // when looks was that many
}

// find returns the process with the socket; 0 if no process is found within the
// bounds.
func (f *finder) find(inode uint32, uid int, must bool) (pid int) {
	now := time.Now()
	f.looks = min(looksASec, f.looks+looksASec*now.Sub(f.at).Seconds()) // at first, very long ago
	f.at = now
	left := min(maxLooks, int(f.looks))
	if must {
		left = mustLooks
	}
	before := left
	defer func() { f.looks -= float64(before - left) }()
	want := "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]"
	for _, pid := range f.recent {
		if holds(pid, want, &left) {
			return f.found(pid)
		}
	}
	if left <= 0 {
		return 0 // the list alone costs as much as a process that has very many descriptors
	}
	all := pids()
	left -= len(all) / lookPerPID
	// The newest first, since most processes connect soon after their start.
	for _, pid := range all {
		if left <= 0 {
			return 0
		}
		left--
		if slices.Contains(f.recent, pid) || !belongs(pid, uid) {
			continue
		}
		if holds(pid, want, &left) {
			return f.found(pid)
		}
	}
	return 0
}

func (f *finder) found(pid int) int {
	if i := slices.Index(f.recent, pid); i >= 0 {
		f.recent = slices.Delete(f.recent, i, i+1)
	}
	f.recent = slices.Insert(f.recent, 0, pid)
	f.recent = f.recent[:min(len(f.recent), maxRecent)]
	return pid
}

// pids lists the processes, the highest number first. That is the newest, unless the
// numbers have wrapped.
func pids() []int {
	fd, names := list("/proc", math.MaxInt)
	if fd < 0 {
		return nil
	}
	_ = unix.Close(fd)
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return b - a })
	return all
}

// list opens a folder of /proc and returns about most of the names in it. The caller
// closes fd, which is negative if the folder cannot be opened. An os.File would cost
// an attempt to register it with the poller.
func list(folder string, most int) (fd int, names []string) {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil
	}
	b := make([]byte, 4<<10)
	for len(names) < most {
		n, err := unix.ReadDirent(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(b[:n], -1, names)
	}
	return fd, names
}

func belongs(pid, uid int) bool {
	var st syscall.Stat_t
	return syscall.Stat("/proc/"+strconv.Itoa(pid), &st) == nil && int(st.Uid) == uid
}

// holds tells whether one of the process's descriptors links to want.
func holds(pid int, want string, left *int) bool {
	if *left <= 0 {
		return false
	}
	fd, names := list("/proc/"+strconv.Itoa(pid)+"/fd", *left)
	if fd < 0 {
		return false
	}
	defer unix.Close(fd)
	*left -= len(names) + lookPerPID
	link := make([]byte, len(want)+1) // what is longer is another
	for _, name := range slices.Backward(names) {
		if n, err := unix.Readlinkat(fd, name, link); err == nil && string(link[:n]) == want {
			return true
		}
	}
	return false
}
