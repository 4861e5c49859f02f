package hostnet

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxPeers bounds the peers that routes respect.
const maxPeers = 4096

// connections reads which established TCP connections this host has.
func connections() (*socketTable, error) {
	t := &socketTable{listening: map[uint16]bool{}, peers: map[socketPeer]bool{}}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, os.ErrNotExist) && name == "tcp6" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		err = t.read(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
	}
	return t, nil
}

type socketPeer struct {
	local netip.AddrPort // of this host
	addr  netip.Addr
	uid   int // whose this host's end is
}

// socketTable is what of /proc/net/tcp tells connections that come from those that go.
type socketTable struct {
	listening map[uint16]bool
	peers     map[socketPeer]bool
}

// read adds the lines of one table:
//
//	sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
func (t *socketTable) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 8 {
			continue
		}
		uid, uerr := strconv.Atoi(f[7])
		local, lok := parseSocket(f[1])
		remote, rok := parseSocket(f[2])
		switch {
		case !lok || !rok || uerr != nil:
		case f[3] == "0A":
			t.listening[local.Port()] = true
		case f[3] == "01" && !remote.Addr().IsLoopback():
			t.peers[socketPeer{local, remote.Addr(), uid}] = true
		}
	}
	return s.Err()
}

// inbound lists the addresses from which connections to ports that this host
// listens on come.
func (t *socketTable) inbound() []netip.Addr {
	return t.remotes(func(p socketPeer) bool { return t.listening[p.local.Port()] })
}

// outbound lists the addresses to which root and the users among uids have
// connections, but for those by a device of ours.
func (t *socketTable) outbound(uids ...int) []netip.Addr {
	return t.remotes(func(p socketPeer) bool {
		return !t.listening[p.local.Port()] && (p.uid == 0 || slices.Contains(uids, p.uid)) && !onDevice(p.local.Addr())
	})
}

func (t *socketTable) remotes(which func(socketPeer) bool) (all []netip.Addr) {
	seen := map[netip.Addr]bool{}
	for p := range t.peers {
		if which(p) && !seen[p.addr] && len(all) < maxPeers {
			seen[p.addr] = true
			all = append(all, p.addr)
		}
	}
	return all
}

// parseSocket reads "0100007F:1538": words of the address in the host's byte
// order, then the port.
func parseSocket(s string) (netip.AddrPort, bool) {
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
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}
