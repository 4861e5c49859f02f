package owner

import (
	"math"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one search, and of all together: to know who asks must not cost what
// the asking does. A look is at a descriptor or, for lookPerPID of them, a process.
const (
	maxLooks   = 2000
	mustLooks  = 200_000 // where it has to be found
	looksASec  = 5000    // about a hundredth of a processor
	maxRecent  = 16
	lookPerPID = 8
)

// finder tells which process has a socket. It knows by the descriptors of those
// processes that this user may look at.
type finder struct {
	recent []int // pids that had one, the latest first
	looks  float64
	at     time.Time // when looks was that many
}

// find returns the process with the socket; zero if that cannot be told, or only
// by looking at too much.
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
	// The newest first: whoever connects has mostly just begun.
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

// pids lists the processes, the newest first where numbers have not wrapped.
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

// list opens a folder of /proc, for the caller to close, and returns the names in
// it, not many more than most; the descriptor is negative if it cannot be opened.
// An os.File would try each time whether it can be waited for.
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

// holds tells whether one of the process's descriptors is want, a link of /proc.
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
