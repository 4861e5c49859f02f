package owner

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"golang.org/x/sys/unix"
)

// Holders finds the processes that listen on the ports of addrs, of UDP or of TCP, at
// that address or at all addresses. The result lacks addresses on which no process
// listens.
// Holders reads the descriptors of every process, so call it for reports and not for
// every connection.
func Holders(udp bool, addrs []netip.AddrPort) (map[netip.AddrPort]Process, error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	sockets := kernelnet.TCPSockets
	if udp {
		sockets = kernelnet.UDPSockets
	}
	rows, err := sockets(func(s kernelnet.Socket) bool { return udp || s.State == kernelnet.Listen })
	if err != nil {
		return nil, err
	}
	byAddr := make(map[netip.AddrPort]kernelnet.Socket, len(rows))
	for _, r := range rows {
		if r.Local.Addr().IsUnspecified() {
			r.Local = anyAt(r.Local.Port())
		}
		byAddr[r.Local] = r
	}
	held := make(map[netip.AddrPort]kernelnet.Socket, len(addrs))
	pids := make(map[uint32]int, len(addrs))
	for _, a := range addrs {
		r, ok := byAddr[a]
		if !ok {
			r, ok = byAddr[anyAt(a.Port())]
		}
		if ok {
			held[a] = r
			pids[r.Inode] = 0
		}
	}
	findPIDs(pids)
	found := make(map[netip.AddrPort]Process, len(held))
	programs := make(map[int]string)
	for a, r := range held {
		pid := pids[r.Inode]
		if _, ok := programs[pid]; !ok && pid != 0 {
			programs[pid] = program(pid)
		}
		found[a] = Process{UID: int(r.UID), User: UserName(int(r.UID)), PID: pid, Program: programs[pid]}
	}
	return found, nil
}

func anyAt(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }

// findPIDs sets the process of each socket inode, as far as this user may list
// descriptors.
func findPIDs(wanted map[uint32]int) {
	if len(wanted) == 0 {
		return
	}
	link := make([]byte, len("socket:[4294967295]")+1) // a longer one is another
	for _, pid := range pids() {
		fd, names := list("/proc/"+strconv.Itoa(pid)+"/fd", math.MaxInt)
		if fd < 0 {
			continue
		}
		for _, name := range names {
			n, err := unix.Readlinkat(fd, name, link)
			number, ok := strings.CutPrefix(string(link[:max(n, 0)]), "socket:[")
			if err != nil || !ok {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
			if found, ok := wanted[uint32(inode)]; err == nil && ok && found == 0 {
				wanted[uint32(inode)] = pid
			}
		}
		_ = unix.Close(fd)
	}
}

func program(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err == nil {
		return filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(comm))
}
