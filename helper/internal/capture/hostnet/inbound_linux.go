package hostnet

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

// maxPeers bounds the addresses of peers that routes leave out.
const maxPeers = 4096

// connections reads which established TCP connections this host has.
func connections() (*socketTable, error) {
	all, err := kernelnet.TCPSockets(func(s kernelnet.Socket) bool {
		return s.State == kernelnet.Listen || s.State == kernelnet.Established
	})
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	return tableOf(all), nil
}

type socketPeer struct {
	local netip.AddrPort // of this host
	addr  netip.Addr
	uid   int // whose this host's end is
}

// socketTable tells incoming connections from outgoing ones.
type socketTable struct {
	listening map[uint16]bool
	peers     map[socketPeer]bool
}

func tableOf(all []kernelnet.Socket) *socketTable {
	t := &socketTable{listening: map[uint16]bool{}, peers: map[socketPeer]bool{}}
	for _, s := range all {
		switch {
		case s.State == kernelnet.Listen:
			t.listening[s.Local.Port()] = true
		case s.State == kernelnet.Established && !s.Remote.Addr().IsLoopback():
			t.peers[socketPeer{s.Local, s.Remote.Addr(), int(s.UID)}] = true
		}
	}
	return t
}

// inbound lists the far ends of connections to ports on which this host listens.
func (t *socketTable) inbound() []netip.Addr {
	return t.remotes(func(p socketPeer) bool { return t.listening[p.local.Port()] })
}

// outbound lists the far ends of the other connections of root and of the users in
// uids, except those from a device of ours.
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
