package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// routeProtocol marks our routes for whoever looks at them.
const routeProtocol = 'c'

// ownRoutes lists the routes of this host, but for those of the device at index.
func ownRoutes(index int) ([]ownRoute, error) {
	var all []ownRoute
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		b, err := syscall.NetlinkRIB(unix.RTM_GETROUTE, family)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", os.NewSyscallError("netlink", err))
		}
		messages, err := syscall.ParseNetlinkMessage(b)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for i := range messages {
			if r, link, ok := parseRoute(&messages[i]); ok && link != index {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// parseRoute reads one route that packets may take by their destination alone.
func parseRoute(m *syscall.NetlinkMessage) (r ownRoute, link int, ok bool) {
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return r, 0, false
	}
	family, bits, kind, flags := m.Data[0], int(m.Data[1]), m.Data[7], binary.NativeEndian.Uint32(m.Data[8:])
	if flags&unix.RTM_F_CLONED != 0 || kind == unix.RTN_BROADCAST || kind == unix.RTN_MULTICAST || kind == unix.RTN_ANYCAST {
		return r, 0, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return r, 0, false
	}
	to := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_DST:
			if d, ok := netip.AddrFromSlice(a.Value); ok {
				to = d
			}
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.via = appendHop(r.via, a.Attr.Type, a.Value)
		case unix.RTA_MULTIPATH:
			r.via = append(r.via, hopsOf(a.Value)...)
		case unix.RTA_OIF:
			if len(a.Value) >= 4 {
				link = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	r.prefix = netip.PrefixFrom(to, bits).Masked()
	r.local, r.twin = kind == unix.RTN_LOCAL, m.Data[5] == routeProtocol
	return r, link, r.prefix.IsValid()
}

// appendHop adds what an attribute says of a next hop.
func appendHop(hops []netip.Addr, kind uint16, value []byte) []netip.Addr {
	if kind == unix.RTA_VIA { // of the other family, which comes first
		value = value[min(2, len(value)):]
	}
	if a, ok := netip.AddrFromSlice(value); ok {
		return append(hops, a)
	}
	return hops
}

// hopsOf reads the next hops of a route by several ways: a header of 8 bytes
// that begins with the length of the whole, and attributes, of each.
func hopsOf(b []byte) (hops []netip.Addr) {
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return hops
		}
		for attrs := b[unix.SizeofRtNexthop:length]; len(attrs) >= unix.SizeofRtAttr; {
			n := int(binary.NativeEndian.Uint16(attrs))
			if n < unix.SizeofRtAttr || n > len(attrs) {
				break
			}
			if kind := binary.NativeEndian.Uint16(attrs[2:]); kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
				hops = appendHop(hops, kind, attrs[unix.SizeofRtAttr:n])
			}
			attrs = attrs[min((n+3)&^3, len(attrs)):]
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return hops
}

// addAddress gives the device at index an address, and no network with it.
func addAddress(index int, a netip.Addr) error {
	body := []byte{family(a), uint8(a.BitLen()), 0, unix.RT_SCOPE_UNIVERSE}
	if a.Is6() {
		body[2] = unix.IFA_F_NODAD // nobody else is on this device
	}
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = appendAttr(body, unix.IFA_LOCAL, a.AsSlice())
	body = appendAttr(body, unix.IFA_ADDRESS, a.AsSlice())
	return ask(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

// changeRoute adds or removes the route to p by d.
func changeRoute(d *Device, add bool, p netip.Prefix) error {
	scope := uint8(unix.RT_SCOPE_LINK)
	if p.Addr().Is6() {
		scope = unix.RT_SCOPE_UNIVERSE
	}
	body := []byte{family(p.Addr()), uint8(p.Bits()), 0, 0, unix.RT_TABLE_MAIN, routeProtocol, scope, unix.RTN_UNICAST}
	body = binary.NativeEndian.AppendUint32(body, 0)
	body = appendAttr(body, unix.RTA_DST, p.Addr().AsSlice())
	body = appendAttr(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(d.Index)))
	if add {
		return ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
	}
	return ask(unix.RTM_DELROUTE, 0, body)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// ask sends one request to rtnetlink and waits for its acknowledgement.
func ask(kind uint16, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	b = binary.NativeEndian.AppendUint64(b, 0) // sequence and port
	b = append(b, body...)
	tv := unix.Timeval{Sec: 2} // the kernel answers within the call; this is for one that does not
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})); err != nil {
		return os.NewSyscallError("netlink", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("netlink", err)
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: not an acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
