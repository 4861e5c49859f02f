package owner

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// procNet is that of the calling thread, as sock_diag's is: /proc/net follows
// the process's first thread.
const procNet = "/proc/thread-self/net/"

// procTCP finds the socket at local that is connected to remote.
func procTCP(local, remote netip.AddrPort) (row, error) {
	rows, err := procRows("tcp", func(r row) bool { return r.local == local && r.remote == remote })
	if err != nil {
		return row{}, err
	}
	for _, r := range rows {
		if r.inode != 0 {
			return r, nil
		}
	}
	return row{}, ErrGone
}

// procPort finds every socket on the local port.
func procPort(protocol string, port uint16) ([]row, error) {
	return procRows(protocol, func(r row) bool { return r.local.Port() == port })
}

// procRows reads the tables of both families. A kernel without IPv6 has only
// one of them.
func procRows(protocol string, want func(row) bool) ([]row, error) {
	var rows []row
	for _, suffix := range []string{"", "6"} {
		found, err := procTable(protocol+suffix, want)
		if errors.Is(err, os.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

func procTable(name string, want func(row) bool) ([]row, error) {
	f, err := os.Open(procNet + name)
	if err != nil {
		return nil, fmt.Errorf("read socket table: %w", err)
	}
	defer f.Close()
	rows, err := scanRows(f, want)
	if err != nil {
		return nil, fmt.Errorf("read socket table: %w", err)
	}
	return rows, nil
}

func scanRows(r io.Reader, want func(row) bool) ([]row, error) {
	var rows []row
	s := bufio.NewScanner(r)
	for s.Scan() {
		if found, ok := parseLine(s.Text()); ok && want(found) {
			rows = append(rows, found)
		}
	}
	return rows, s.Err()
}

// parseLine reads one line of /proc/net/{tcp,udp,icmp,raw}{,6}:
//
//	sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
func parseLine(line string) (row, bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return row{}, false
	}
	local, lok := parseAddr(f[1])
	remote, rok := parseAddr(f[2])
	state, serr := strconv.ParseUint(f[3], 16, 8)
	uid, uerr := strconv.ParseUint(f[7], 10, 32)
	inode, ierr := strconv.ParseUint(f[9], 10, 32)
	if !lok || !rok || serr != nil || uerr != nil || ierr != nil {
		return row{}, false
	}
	return row{local: local, remote: remote, state: uint8(state), uid: uint32(uid), inode: uint32(inode)}, true
}

// parseAddr reads "0100007F:1538": words of the address in the host's byte
// order, then the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || (len(raw) != 4 && len(raw) != 16) {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return unmap(netip.AddrPortFrom(a, uint16(p))), true
}

// Holders tells which processes listen on the TCP ports of addrs, each at that
// address or at all addresses; what nobody listens on is missing. It reads the
// descriptors of every process, so it is for reports, not for every connection.
func Holders(addrs []netip.AddrPort) (map[netip.AddrPort]Process, error) {
	rows, err := procRows("tcp", func(r row) bool { return r.state == stateListen })
	if err != nil {
		return nil, err
	}
	byAddr := make(map[netip.AddrPort]row, len(rows))
	for _, r := range rows {
		if r.local.Addr().IsUnspecified() {
			r.local = anyAt(r.local.Port())
		}
		byAddr[r.local] = r
	}
	held := make(map[netip.AddrPort]row, len(addrs))
	pids := make(map[uint32]int, len(addrs))
	for _, a := range addrs {
		r, ok := byAddr[a]
		if !ok {
			r, ok = byAddr[anyAt(a.Port())]
		}
		if ok {
			held[a] = r
			pids[r.inode] = 0
		}
	}
	findPIDs(pids)
	found := make(map[netip.AddrPort]Process, len(held))
	programs := make(map[int]string)
	for a, r := range held {
		pid := pids[r.inode]
		if _, ok := programs[pid]; !ok && pid != 0 {
			programs[pid] = program(pid)
		}
		found[a] = Process{UID: int(r.uid), User: UserName(int(r.uid)), PID: pid, Program: programs[pid]}
	}
	return found, nil
}

func anyAt(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }

// findPIDs fills in the process of each socket inode, as far as it may be seen.
func findPIDs(pids map[uint32]int) {
	if len(pids) == 0 {
		return
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return
	}
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		number, ok := strings.CutPrefix(link, "socket:[")
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
		if !ok || err != nil {
			continue
		}
		if pid, wanted := pids[uint32(inode)]; wanted && pid == 0 {
			pids[uint32(inode)], _ = strconv.Atoi(strings.Split(fd, "/")[2])
		}
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
