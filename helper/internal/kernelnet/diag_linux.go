package kernelnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errNoDiag means that sock_diag cannot be used on this system.
var errNoDiag = errors.New("sock_diag is not available")

const (
	byFamily   = 20 // SOCK_DIAG_BY_FAMILY
	destroyOne = 21 // SOCK_DESTROY
	requestLen = 56 // struct inet_diag_req_v2
	messageLen = 72 // struct inet_diag_msg
	idAt       = 4  // of struct inet_diag_sockid in struct inet_diag_msg
	idLen      = 48
	maxDump    = 4096 // rows of one dump
	anyState   = 0xffffffff
)

// question is a request for sockets. In an exact request for UDP, the kernel swaps
// the local and the remote end, for historical reasons.
type question struct {
	family, protocol uint8
	states           uint32
	local, remote    netip.AddrPort
	device           int // finds sockets that are bound to it as well as unbound ones
}

func (q question) message(kind netlink.HeaderType, flags netlink.HeaderFlags) netlink.Message {
	b := make([]byte, requestLen)
	ne := binary.NativeEndian
	b[0], b[1] = q.family, q.protocol
	ne.PutUint32(b[4:], q.states)
	binary.BigEndian.PutUint16(b[8:], q.local.Port())
	binary.BigEndian.PutUint16(b[10:], q.remote.Port())
	copy(b[12:28], q.local.Addr().AsSlice())
	copy(b[28:44], q.remote.Addr().AsSlice())
	ne.PutUint32(b[44:], uint32(q.device))
	ne.PutUint64(b[48:], ^uint64(0)) // any cookie
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | flags}, Data: b}
}

// exact returns the socket at local that is connected to remote, or that receives
// from remote; ErrGone if there is none. A socket that is bound to a device is found
// only with the index of that device. For IPv4 addresses, the kernel also finds IPv6
// sockets with mapped addresses.
func exact(s *service, protocol uint8, local, remote netip.AddrPort, device int) (found Socket, err error) {
	q := question{family: familyOf(local.Addr()), protocol: protocol, states: anyState, local: local, remote: remote, device: device}
	if protocol == unix.IPPROTO_UDP {
		q.local, q.remote = remote, local
	}
	n := 0
	err = s.ask(q.message(byFamily, 0), func(body []byte) (err error) {
		n++
		found, err = parseSocket(body)
		return err
	})
	if err != nil {
		return Socket{}, diagError(err)
	}
	if n != 1 {
		return Socket{}, ErrGone
	}
	return found, nil
}

// dump returns every row of both families on the local port.
func dump(s *service, protocol uint8, port uint16) ([]Socket, error) {
	var all []Socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		q := question{family: family, protocol: protocol, states: anyState, local: netip.AddrPortFrom(netip.Addr{}, port)}
		err := s.ask(q.message(byFamily, netlink.Dump), func(body []byte) error {
			found, err := parseSocket(body)
			if err == nil && len(all) >= maxDump {
				err = fmt.Errorf("more than %d sockets on one port", maxDump)
			}
			if err == nil && found.Local.Port() == port {
				all = append(all, found)
			}
			return err
		})
		if err = diagError(err); errors.Is(err, ErrGone) {
			return nil, errNoDiag // a dump always ends well, unless the kernel lacks the module
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ResetFrom ends the TCP connections whose local address is in addrs. Their programs
// see ECONNABORTED. It needs CAP_NET_ADMIN.
func ResetFrom(addrs []netip.Addr) error {
	s := &service{}
	defer s.close()
	var failed error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		ids, err := connectionsFrom(s, family, addrs)
		failed = errors.Join(failed, err)
		for _, id := range ids {
			m := question{family: family, protocol: unix.IPPROTO_TCP}.message(destroyOne, netlink.Acknowledge)
			copy(m.Data[requestLen-idLen:], id)
			// ENOENT: the connection has ended meanwhile.
			if err := s.ask(m, func([]byte) error { return nil }); err != nil && errno(err) != unix.ENOENT {
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// connectionsFrom lists the kernel's identifiers of the connections of a family
// whose local address is in addrs.
func connectionsFrom(s *service, family uint8, addrs []netip.Addr) (ids [][]byte, err error) {
	q := question{family: family, protocol: unix.IPPROTO_TCP}
	for _, state := range []int{Established, SynSent, 3, FinWait1, FinWait2, CloseWait, LastAck, Closing} { // 3 is SYN_RECV
		q.states |= 1 << state
	}
	err = s.ask(q.message(byFamily, netlink.Dump), func(body []byte) error {
		found, err := parseSocket(body)
		if err == nil && slices.Contains(addrs, found.Local.Addr()) {
			ids = append(ids, slices.Clone(body[idAt:idAt+idLen]))
		}
		return err
	})
	return ids, err
}

// parseSocket reads a struct inet_diag_msg.
func parseSocket(b []byte) (Socket, error) {
	if len(b) < messageLen {
		return Socket{}, errors.New("read sock_diag: short row")
	}
	n := 4
	if b[0] == unix.AF_INET6 {
		n = 16
	}
	local, _ := netip.AddrFromSlice(b[8 : 8+n])
	remote, _ := netip.AddrFromSlice(b[24 : 24+n])
	return Socket{
		Local:  Unmap(netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))),
		Remote: Unmap(netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))),
		State:  b[1],
		UID:    binary.NativeEndian.Uint32(b[64:]),
		Inode:  binary.NativeEndian.Uint32(b[68:]),
	}, nil
}

// diagError turns the kernel's errors into ErrGone and errNoDiag where these apply.
func diagError(err error) error {
	if err == nil {
		return nil
	}
	switch errno(err) {
	case unix.ENOENT:
		return ErrGone
	case unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EINVAL, unix.ENOSYS, unix.ECONNREFUSED:
		return errNoDiag
	}
	return fmt.Errorf("ask sock_diag: %w", err)
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
