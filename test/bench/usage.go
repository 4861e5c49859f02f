//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-dev/causeway/test/lab"
)

// programs returns the directories of proc(5) of the processes on a host that are
// not the benchmark's. Only one tool is up at a time, so they are the tool's.
func (w *world) programs(h *lab.Host) []string {
	var want unix.Stat_t
	if unix.Stat("/run/netns/"+h.NS, &want) != nil {
		return nil
	}
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		var ns unix.Stat_t
		if unix.Stat(dir+"/ns/net", &ns) != nil || ns.Ino != want.Ino {
			continue
		}
		if exe, err := os.Readlink(dir + "/exe"); err == nil && exe != w.self {
			found = append(found, dir)
		}
	}
	return found
}

// running returns the number of programs on both ends.
func (w *world) running() int { return len(w.programs(w.lab.Cloud)) + len(w.programs(w.lab.Laptop)) }

// cpu returns the user and system time of each process of a tool by its directory.
func (w *world) cpu() map[string]time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	took := map[string]time.Duration{}
	for _, dir := range append(w.programs(w.lab.Cloud), w.programs(w.lab.Laptop)...) {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		// The name in parentheses may contain any character.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(string(f), 10, 64)
			took[dir] += time.Duration(n) * tick
		}
	}
	return took
}

// since returns the time that the tool's processes have taken since before. It does
// not count processes that have ended meanwhile.
func (w *world) since(before map[string]time.Duration) (sum time.Duration) {
	for dir, took := range w.cpu() {
		sum += took - before[dir]
	}
	return sum
}

// usage is the memory of a tool on one host, in bytes: of all its processes
// together, and of the largest.
type usage struct {
	resident, proportional, largest int64
	processes                       int
}

// memory returns the memory of a tool on a host, without the sshd that always runs.
func (w *world) memory(h *lab.Host) (u usage) {
	for _, dir := range w.programs(h) {
		if line, _ := os.ReadFile(dir + "/cmdline"); bytes.Contains(line, []byte("/sshd\x00-D")) || bytes.Contains(line, []byte("sshd: /")) {
			continue
		}
		rollup, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			continue
		}
		u.processes++
		for line := range strings.Lines(string(rollup)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				u.resident, u.largest = u.resident+n<<10, max(u.largest, n<<10)
			case "Pss:":
				u.proportional += n << 10
			}
		}
	}
	return u
}
