package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	diagByFamily = 20
	diagDestroy  = 21 // SOCK_DESTROY
	diagID       = 48 // struct inet_diag_sockid
	diagMessage  = 72 // struct inet_diag_msg
	// connectedStates are those of connections, from SYN_SENT on, that somebody
	// may be waiting for.
	connectedStates = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

	deviceTime = time.Second // that the kernel has to remove a device
)

// resetConnections has programs see the end of what went by a device that is
// gone with a capture that was killed, whose stack reset nothing. A device that
// stays has its capture, which resets them itself.
func (d *Device) resetConnections() error {
	for end := time.Now().Add(deviceTime); ; time.Sleep(10 * time.Millisecond) {
		if _, err := net.InterfaceByIndex(d.Index); err != nil {
			break
		}
		if time.Now().After(end) {
			return nil
		}
	}
	var failed error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		ids, err := connectionsFrom(family, d.Addresses)
		for _, id := range ids {
			// One that ended meanwhile is not there any more.
			if e := destroy(family, id); e != nil && !errors.Is(e, unix.ENOENT) {
				err = errors.Join(err, e)
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("reset the connections of %s: %w", d.Name, err))
		}
	}
	return failed
}

// connectionsFrom lists, by what the kernel knows them by, the TCP sockets of a
// family whose own address is one of addrs.
func connectionsFrom(family uint8, addrs []netip.Addr) (ids [][]byte, err error) {
	none := make([]byte, diagID)
	err = diag(diagByFamily, unix.NLM_F_DUMP, family, none, func(b []byte) {
		if len(b) < diagMessage {
			return
		}
		id := b[4 : 4+diagID]
		raw := id[4:8]
		if b[0] == unix.AF_INET6 {
			raw = id[4:20]
		}
		if a, ok := netip.AddrFromSlice(raw); ok && slices.Contains(addrs, a.Unmap()) {
			ids = append(ids, slices.Clone(id))
		}
	})
	return ids, err
}

// destroy ends a socket: who waits for it is told that it was aborted.
func destroy(family uint8, id []byte) error {
	return diag(diagDestroy, unix.NLM_F_ACK, family, id, func([]byte) {})
}

// diag asks sock_diag about TCP sockets, and gives each row of the answer to row.
func diag(kind, flags uint16, family uint8, id []byte, row func([]byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+8+diagID))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint64(b, 0) // sequence and port
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, connectedStates)
	b = append(b, id...)
	tv := unix.Timeval{Sec: 2} // the kernel answers within the call; this is for one that does not
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})); err != nil {
		return os.NewSyscallError("netlink", err)
	}
	for answer := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("netlink", err)
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return errors.New("netlink: not an acknowledgement")
				}
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					return syscall.Errno(-code)
				}
				return nil
			default:
				row(m.Data)
			}
		}
	}
}
