package kernelnet

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// procNet is that of the calling thread, as sock_diag's is: /proc/net follows
// the process's first thread.
const procNet = "/proc/thread-self/net/"

// TCPSockets returns the TCP sockets of this network namespace, of both families,
// for which want returns true.
func TCPSockets(want func(Socket) bool) ([]Socket, error) { return procBoth("tcp", want) }

// UDPSockets is TCPSockets for UDP.
func UDPSockets(want func(Socket) bool) ([]Socket, error) { return procBoth("udp", want) }

// procTCP finds the socket at local that is connected to remote.
func procTCP(local, remote netip.AddrPort) (Socket, error) {
	found, err := procBoth("tcp", func(s Socket) bool { return s.Local == local && s.Remote == remote })
	if err != nil {
		return Socket{}, err
	}
	for _, s := range found {
		if s.Inode != 0 {
			return s, nil
		}
	}
	return Socket{}, ErrGone
}

// procBoth reads the tables of both families. A kernel without IPv6 has only
// one of them.
func procBoth(protocol string, want func(Socket) bool) ([]Socket, error) {
	var all []Socket
	for _, suffix := range []string{"", "6"} {
		found, err := procTable(protocol+suffix, want)
		if errors.Is(err, os.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func procTable(name string, want func(Socket) bool) ([]Socket, error) {
	f, err := os.Open(procNet + name)
	if err != nil {
		return nil, fmt.Errorf("read socket table: %w", err)
	}
	defer f.Close()
	found, err := scan(f, want)
	if err != nil {
		return nil, fmt.Errorf("read socket table: %w", err)
	}
	return found, nil
}

func scan(r io.Reader, want func(Socket) bool) ([]Socket, error) {
	var all []Socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if s, ok := parseLine(lines.Text()); ok && want(s) {
			all = append(all, s)
		}
	}
	return all, lines.Err()
}

// parseLine reads one line of /proc/net/{tcp,udp,icmp,raw}{,6}:
//
//	sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
func parseLine(line string) (Socket, bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return Socket{}, false
	}
	local, lok := parseAddr(f[1])
	remote, rok := parseAddr(f[2])
	state, serr := strconv.ParseUint(f[3], 16, 8)
	uid, uerr := strconv.ParseUint(f[7], 10, 32)
	inode, ierr := strconv.ParseUint(f[9], 10, 32)
	if !lok || !rok || serr != nil || uerr != nil || ierr != nil {
		return Socket{}, false
	}
	return Socket{Local: local, Remote: remote, State: uint8(state), UID: uint32(uid), Inode: uint32(inode)}, true
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
	return Unmap(netip.AddrPortFrom(a, uint16(p))), true
}
