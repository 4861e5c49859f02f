package kernelnet

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Table looks up sockets of this network namespace. It uses sock_diag, whose exact
// look-up costs the same for any number of sockets. If a sandbox or a missing kernel
// module prevents that, it reads /proc. The zero value is ready. A Table is safe for
// concurrent use, and no call waits for the answer to another one.
type Table struct {
	// ProcOnly makes every look-up read /proc, as if sock_diag could not be used.
	ProcOnly bool

	diag   service
	noDiag atomic.Bool // sock_diag cannot be used here
	proven atomic.Bool // sock_diag has found a TCP socket, so "not found" means it
}

// Close closes the sockets that the table keeps for its next look-up.
func (t *Table) Close() error { return t.diag.close() }

// TCP returns the TCP socket at local that is connected to remote by the device of
// that index. With connecting, it also returns a socket that waits for remote's
// answer. local and remote have the form that Unmap returns. If there is no such
// socket, the error is ErrGone.
func (t *Table) TCP(local, remote netip.AddrPort, device int, connecting bool) (Socket, error) {
	s, err := t.diagTCP(local, remote, device)
	if errors.Is(err, errNoDiag) {
		s, err = procTCP(local, remote)
	}
	if err != nil {
		return Socket{}, err
	}
	if s.Local != local || s.Remote != remote {
		return Socket{}, ErrGone // a listener on the port
	}
	switch s.State {
	case Established, FinWait1, FinWait2, CloseWait, LastAck, Closing:
		return s, nil
	case SynSent:
		if connecting {
			return s, nil
		}
	}
	return Socket{}, ErrGone // TIME_WAIT
}

// UDP returns the UDP socket that receives datagrams from remote to local. If there
// is none, or if only /proc can be read, the error is ErrGone. Other sockets can be
// on the same port: UDPPort lists them.
func (t *Table) UDP(local, remote netip.AddrPort) (Socket, error) {
	var s Socket
	err := t.ask(func(diag *service) (err error) {
		s, err = exact(diag, unix.IPPROTO_UDP, local, remote, LoopbackIndex)
		return err
	})
	if errors.Is(err, errNoDiag) {
		err = ErrGone
	}
	return s, err
}

// UDPPort returns every UDP socket on the local port, of both families.
func (t *Table) UDPPort(port uint16) ([]Socket, error) {
	var all []Socket
	err := t.ask(func(diag *service) (err error) {
		all, err = dump(diag, unix.IPPROTO_UDP, port)
		return err
	})
	if errors.Is(err, errNoDiag) {
		return procBoth("udp", func(s Socket) bool { return s.Local.Port() == port })
	}
	return all, err
}

// Echo returns the ping sockets with the identifier id, and the raw sockets of ICMP,
// both of client's family.
func (t *Table) Echo(client netip.Addr, id uint16) (ping, raw []Socket, err error) {
	suffix, protocol := "", uint16(unix.IPPROTO_ICMP)
	if client.Is6() {
		suffix, protocol = "6", unix.IPPROTO_ICMPV6
	}
	if ping, err = procTable("icmp"+suffix, func(s Socket) bool { return s.Local.Port() == id }); err == nil {
		raw, err = procTable("raw"+suffix, func(s Socket) bool { return s.Local.Port() == protocol })
	}
	return ping, raw, err
}

// FellBack tells whether look-ups read /proc.
func (t *Table) FellBack() bool { return t.ProcOnly || t.noDiag.Load() }

func (t *Table) diagTCP(local, remote netip.AddrPort, device int) (found Socket, err error) {
	err = t.ask(func(diag *service) (err error) {
		found, err = exact(diag, unix.IPPROTO_TCP, local, remote, device)
		return err
	})
	if err == nil {
		t.proven.Store(true)
		return found, nil
	}
	if !errors.Is(err, ErrGone) || t.proven.Load() {
		return Socket{}, err
	}
	// A kernel without tcp_diag answers "not found" to everything. So look up our
	// own end, which exists while the caller holds the connection.
	err = t.ask(func(diag *service) (err error) {
		_, err = exact(diag, unix.IPPROTO_TCP, remote, local, device)
		return err
	})
	if err != nil {
		return Socket{}, errNoDiag
	}
	t.proven.Store(true)
	return Socket{}, ErrGone
}

// ask runs f, and remembers if sock_diag cannot be used.
func (t *Table) ask(f func(*service) error) error {
	if t.FellBack() {
		return errNoDiag
	}
	err := f(&t.diag)
	if errors.Is(err, errNoDiag) {
		t.noDiag.Store(true)
	}
	return err
}
