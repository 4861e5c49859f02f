package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// bridgeRanges are the ranges for names behind bridges; each process takes one. They
// belong to networks for measurements and for carriers, which few other networks
// use.
func bridgeRanges() (all []netip.Prefix) {
	for _, net := range [][2]byte{{198, 19}, {100, 127}} {
		for n := range 16 {
			all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{net[0], net[1], byte(16 * n), 0}), 20))
		}
	}
	return all
}

// freeRange returns the first range that no route of this host overlaps and for
// which claim succeeds.
func freeRange(own []ownRoute, claim func(netip.Prefix) bool) (netip.Prefix, error) {
	for _, p := range bridgeRanges() {
		taken := false
		for _, r := range own {
			taken = taken || r.prefix.Bits() > 0 && r.prefix.Overlaps(p)
		}
		if !taken && claim(p) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no range of addresses is free")
}

// served is the bridge of this process. This host answers for the addresses of the
// names there while the process lives.
type served struct {
	name  string
	own   netip.Addr   // this host's on it
	names netip.Prefix // of the names
	claim *os.File     // that the range is ours; the kernel frees it with the process
}

// begin takes a range for a bridge of this host.
func (s *served) begin(name string) error {
	if s.name != "" {
		return errors.New("there is a bridge already")
	}
	own, err := BridgeAddress(name)
	if err != nil {
		return err
	}
	sweepRanges()
	claim, names, err := takeRange()
	if err != nil {
		return err
	}
	*s = served{name: name, own: own.Addr(), names: names, claim: claim}
	return nil
}

// end gives the range back.
func (s *served) end() error {
	if s.name == "" {
		return nil
	}
	err := changeRange(s.names, false)
	_ = s.claim.Close()
	*s = served{}
	return err
}

// checkListen admits ports below 1024 of the names' addresses and of this host's own
// address on the bridge.
func (s *served) checkListen(e endpoint) error {
	switch a := e.At.Addr(); {
	case s.name == "" || e.Device != s.name:
		return fmt.Errorf("%q is not the bridge", e.Device)
	case a != s.own && !s.names.Contains(a):
		return fmt.Errorf("%s is not served on %s", a, e.Device)
	case e.At.Port() == 0 || e.At.Port() >= 1024:
		return fmt.Errorf("port %d needs no privilege", e.At.Port())
	}
	return nil
}

// CheckBridge tells whether name is a possible name of a bridge.
func CheckBridge(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." {
		return fmt.Errorf("%q cannot be the name of a bridge", name)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%q cannot be the name of a bridge", name)
		}
	}
	return nil
}

// BridgeAddress is this host's IPv4 address on a bridge, with the network there.
func BridgeAddress(name string) (netip.Prefix, error) {
	if err := CheckBridge(name); err != nil {
		return netip.Prefix{}, err
	}
	if _, err := os.Stat("/sys/class/net/" + name + "/bridge"); err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a bridge of this machine", name)
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}, err
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap().Is4() && !addr.IsLoopback() {
			bits, _ := n.Mask.Size()
			return netip.PrefixFrom(addr.Unmap(), bits), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%s has no IPv4 address", name)
}

// StartBridge is Start for the names that programs behind a bridge of this host use.
// names is the prefix of their addresses; the caller can listen on all of them.
func StartBridge(ctx context.Context, o StartOptions, name string) (h *Host, names netip.Prefix, err error) {
	t := task{what: "add addresses for " + name, lacks: "that takes root"}
	if os.Geteuid() != 0 {
		t.lacked = os.ErrPermission
	}
	h, err = begin(ctx, o, t, func(h *Host) error {
		return h.request(ctx, request{Bridge: name}, func(a answer) error {
			if a.Names == nil {
				return errors.New("the answer has no addresses")
			}
			names = *a.Names
			return nil
		})
	})
	return h, names, err
}
