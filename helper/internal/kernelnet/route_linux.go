package kernelnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Routes lists the routes of this machine, of both families.
func Routes() ([]Route, error) {
	for try := 0; ; try++ {
		all, err := routes()
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, errInterrupted) || try >= 4 {
			return nil, fmt.Errorf("list routes: %w", err)
		}
	}
}

func routes() (all []Route, err error) {
	s := &service{route: true}
	defer s.close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		m := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request | netlink.Dump},
			Data: make([]byte, unix.SizeofRtMsg)}
		m.Data[0] = family
		err := s.ask(m, func(body []byte) error {
			if r, ok := parseRoute(body); ok {
				all = append(all, r)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseRoute reads a struct rtmsg and its attributes. ok is false for other messages
// and for routes that depend on more than the destination.
func parseRoute(b []byte) (r Route, ok bool) {
	if len(b) < unix.SizeofRtMsg {
		return r, false
	}
	family, bits, kind, flags := b[0], int(b[1]), b[7], binary.NativeEndian.Uint32(b[8:])
	if flags&unix.RTM_F_CLONED != 0 || kind == unix.RTN_BROADCAST || kind == unix.RTN_MULTICAST || kind == unix.RTN_ANYCAST {
		return r, false
	}
	attrs, err := netlink.UnmarshalAttributes(b[unix.SizeofRtMsg:])
	if err != nil {
		return r, false
	}
	to := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		switch a.Type {
		case unix.RTA_DST:
			if d, ok := netip.AddrFromSlice(a.Data); ok {
				to = d
			}
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.Via = appendHop(r.Via, a)
		case unix.RTA_MULTIPATH:
			r.Via = append(r.Via, hopsOf(a.Data)...)
		case unix.RTA_OIF:
			if len(a.Data) >= 4 {
				r.Device = int(binary.NativeEndian.Uint32(a.Data))
			}
		}
	}
	r.Prefix = netip.PrefixFrom(to, bits).Masked()
	r.Local, r.Protocol = kind == unix.RTN_LOCAL, b[5]
	return r, r.Prefix.IsValid()
}

// appendHop adds the next hop of an attribute.
func appendHop(hops []netip.Addr, a netlink.Attribute) []netip.Addr {
	value := a.Data
	if a.Type == unix.RTA_VIA { // of the other family, which comes first
		value = value[min(2, len(value)):]
	}
	if addr, ok := netip.AddrFromSlice(value); ok {
		return append(hops, addr)
	}
	return hops
}

// hopsOf reads the next hops of a route by several ways. Each has a header of 8
// bytes, which begins with the length of the whole, and attributes.
func hopsOf(b []byte) (hops []netip.Addr) {
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return hops
		}
		attrs, err := netlink.UnmarshalAttributes(b[unix.SizeofRtNexthop:length])
		if err != nil {
			return hops
		}
		for _, a := range attrs {
			if a.Type == unix.RTA_GATEWAY || a.Type == unix.RTA_VIA {
				hops = appendHop(hops, a)
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return hops
}

// AddRoute adds a route to r.Prefix by r.Device. It fails with EEXIST if this
// machine has a route to the same prefix. Via is not used. A Local route makes every
// address of the prefix an address of this machine.
func AddRoute(r Route) error { return change(unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, r) }

// RemoveRoute removes a route that AddRoute added. It fails with ESRCH if there is
// no such route.
func RemoveRoute(r Route) error { return change(unix.RTM_DELROUTE, 0, r) }

func change(kind netlink.HeaderType, flags netlink.HeaderFlags, r Route) error {
	a := r.Prefix.Addr()
	table, scope, of := uint8(unix.RT_TABLE_MAIN), uint8(unix.RT_SCOPE_LINK), uint8(unix.RTN_UNICAST)
	switch {
	case r.Local:
		table, scope, of = unix.RT_TABLE_LOCAL, unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	case a.Is6():
		scope = unix.RT_SCOPE_UNIVERSE
	}
	header := []byte{familyOf(a), uint8(r.Prefix.Bits()), 0, 0, table, r.Protocol, scope, of, 0, 0, 0, 0}
	return command(kind, flags, header,
		netlink.Attribute{Type: unix.RTA_DST, Data: a.AsSlice()},
		netlink.Attribute{Type: unix.RTA_OIF, Data: binary.NativeEndian.AppendUint32(nil, uint32(r.Device))})
}

// AddAddress gives the device of that index a single address, without a network.
func AddAddress(device int, a netip.Addr) error {
	header := []byte{familyOf(a), uint8(a.BitLen()), 0, unix.RT_SCOPE_UNIVERSE}
	if a.Is6() {
		header[2] = unix.IFA_F_NODAD // nobody else is on this device
	}
	return command(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, binary.NativeEndian.AppendUint32(header, uint32(device)),
		netlink.Attribute{Type: unix.IFA_LOCAL, Data: a.AsSlice()}, netlink.Attribute{Type: unix.IFA_ADDRESS, Data: a.AsSlice()})
}

// command sends one request to rtnetlink and waits for its acknowledgement.
func command(kind netlink.HeaderType, flags netlink.HeaderFlags, header []byte, attrs ...netlink.Attribute) error {
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return err
	}
	s := &service{route: true}
	defer s.close()
	m := netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags}, Data: append(header, b...)}
	if err := s.ask(m, func([]byte) error { return nil }); err != nil {
		if n := errno(err); n != 0 {
			return n
		}
		return err
	}
	return nil
}
