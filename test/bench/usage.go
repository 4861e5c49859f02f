//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-dev/causeway/test/lab"
)

// usage is what the programs of one tool have taken.
type usage struct {
	cpu      time.Duration // user and system
	resident int64         // bytes
}

// used adds up what runs on a host and is not of the benchmark itself. Since
// one tool is up at a time, that is the tool.
func (w *world) used(h *lab.Host) usage {
	var u usage
	var want unix.Stat_t
	if unix.Stat("/run/netns/"+h.NS, &want) != nil {
		return u
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		var ns unix.Stat_t
		if unix.Stat(dir+"/ns/net", &ns) != nil || ns.Ino != want.Ino {
			continue
		}
		if exe, err := os.Readlink(dir + "/exe"); err != nil || exe == w.self {
			continue
		}
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 22 {
			continue
		}
		number := func(i int) int64 { n, _ := strconv.ParseInt(string(fields[i]), 10, 64); return n }
		const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux there is
		u.cpu += time.Duration(number(11)+number(12)) * tick
		u.resident += number(21) * int64(os.Getpagesize())
	}
	return u
}

// cpu is what a tool has taken on both hosts.
func (w *world) cpu() time.Duration {
	return w.used(w.lab.Cloud).cpu + w.used(w.lab.Laptop).cpu
}
