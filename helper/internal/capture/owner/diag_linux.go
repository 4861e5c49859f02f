package owner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errNoDiag means that sock_diag cannot be used here at all.
var errNoDiag = errors.New("sock_diag is not available")

const (
	sockDiagByFamily = 20
	headerLen        = unix.NLMSG_HDRLEN
	requestLen       = headerLen + 56 // struct inet_diag_req_v2
	messageLen       = 72             // struct inet_diag_msg
	maxDump          = 4096           // rows of one dump
)

// diag is a socket to the kernel's sock_diag. Not safe for concurrent use.
type diag struct {
	fd  int
	seq uint32
	buf [32 << 10]byte
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	// The kernel answers within the call; this is for one that does not.
	tv := unix.Timeval{Sec: 1}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}), // the kernel alone may answer
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &diag{fd: fd}, nil
}

func (d *diag) close() { _ = unix.Close(d.fd) }

// exact returns the one row at local that is connected to remote, or ErrGone. A
// socket that is bound to a device is found by the index of that one alone.
// Asked in the family of IPv4, the kernel finds the mapped sockets of IPv6 too.
func (d *diag) exact(local, remote netip.AddrPort, device int) ([]row, error) {
	family := uint8(unix.AF_INET6)
	if local.Addr().Is4() {
		family = unix.AF_INET
	}
	rows, err := d.ask(request(family, unix.IPPROTO_TCP, 0, local, remote, device))
	if err == nil && len(rows) != 1 {
		err = ErrGone
	}
	return rows, err
}

// dump returns every row of both families on the local port.
func (d *diag) dump(protocol uint8, port uint16) ([]row, error) {
	var all []row
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		at := netip.AddrPortFrom(netip.Addr{}, port)
		rows, err := d.ask(request(family, protocol, unix.NLM_F_DUMP, at, netip.AddrPort{}, 0))
		if errors.Is(err, ErrGone) {
			return nil, errNoDiag // a dump always ends well, unless the kernel lacks the module
		}
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.local.Port() == port {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

func request(family, protocol uint8, flags uint16, local, remote netip.AddrPort, device int) []byte {
	b := make([]byte, requestLen)
	ne := binary.NativeEndian
	ne.PutUint32(b, requestLen)
	ne.PutUint16(b[4:], sockDiagByFamily)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	q := b[headerLen:]
	q[0], q[1] = family, protocol
	ne.PutUint32(q[4:], 0xffffffff) // any state
	binary.BigEndian.PutUint16(q[8:], local.Port())
	binary.BigEndian.PutUint16(q[10:], remote.Port())
	copy(q[12:28], local.Addr().AsSlice())
	copy(q[28:44], remote.Addr().AsSlice())
	if flags&unix.NLM_F_DUMP == 0 {
		ne.PutUint32(q[44:], uint32(device)) // finds sockets bound to it as well as unbound ones
	}
	ne.PutUint64(q[48:], ^uint64(0)) // any cookie
	return b
}

// ask sends one request and returns the rows of its answer.
func (d *diag) ask(req []byte) ([]row, error) {
	d.seq++
	binary.NativeEndian.PutUint32(req[8:], d.seq)
	if err := retry(func() error { return unix.Send(d.fd, req, 0) }); err != nil {
		return nil, diagError(err)
	}
	dump := binary.NativeEndian.Uint16(req[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	var rows []row
	for len(rows) <= maxDump {
		var n int
		err := retry(func() (err error) { n, _, err = unix.Recvfrom(d.fd, d.buf[:], 0); return err })
		if err != nil {
			return nil, diagError(err)
		}
		var done bool
		if rows, done, err = parse(rows, d.buf[:n], d.seq); err != nil || done || !dump {
			return rows, err
		}
	}
	return nil, fmt.Errorf("read sock_diag: more than %d sockets on one port", maxDump)
}

// parse appends the rows of one datagram that answer request seq. done means
// that the answer ends with it.
func parse(rows []row, b []byte, seq uint32) (_ []row, done bool, err error) {
	ne := binary.NativeEndian
	for len(b) >= headerLen {
		size, kind := int(ne.Uint32(b)), ne.Uint16(b[4:])
		if size < headerLen || size > len(b) {
			return nil, false, errors.New("read sock_diag: bad message length")
		}
		if ne.Uint32(b[8:]) != seq {
			return nil, false, errors.New("read sock_diag: answer to another request")
		}
		body := b[headerLen:size]
		switch kind {
		case unix.NLMSG_DONE:
			return rows, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return nil, false, errors.New("read sock_diag: short error")
			}
			if code := int32(ne.Uint32(body)); code != 0 {
				return nil, false, diagError(unix.Errno(-code))
			}
		case sockDiagByFamily:
			r, ok := parseRow(body)
			if !ok {
				return nil, false, errors.New("read sock_diag: short row")
			}
			rows = append(rows, r)
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return rows, false, nil
}

func parseRow(b []byte) (row, bool) {
	if len(b) < messageLen {
		return row{}, false
	}
	n := 4
	if b[0] == unix.AF_INET6 {
		n = 16
	}
	local, _ := netip.AddrFromSlice(b[8 : 8+n])
	remote, _ := netip.AddrFromSlice(b[24 : 24+n])
	return row{
		local:  unmap(netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))),
		remote: unmap(netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))),
		state:  b[1],
		uid:    binary.NativeEndian.Uint32(b[64:]),
		inode:  binary.NativeEndian.Uint32(b[68:]),
	}, true
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// diagError tells "no such socket" and "not to be had here" from the rest.
func diagError(err error) error {
	switch err {
	case unix.ENOENT:
		return ErrGone
	case unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EINVAL, unix.ENOSYS, unix.ECONNREFUSED:
		return errNoDiag
	}
	return fmt.Errorf("ask sock_diag: %w", err)
}
