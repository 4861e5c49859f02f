package owner

import (
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// States of net/tcp_states.h.
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateCloseWait   = 8
	stateLastAck     = 9
	stateListen      = 10
	stateClosing     = 11
)

// table reads the socket tables of this network namespace: by sock_diag, whose
// exact look-up costs the same however many sockets there are, and from /proc
// where a sandbox or a missing kernel module forbids that.
type table struct {
	mu     sync.Mutex
	diag   *diag
	noDiag bool // sock_diag is not to be had here
	proven bool // sock_diag has found a TCP socket, so "not found" means it
}

// tcp returns the row of the TCP socket at local that is connected to remote by
// the device of that index. connecting tells that it may be on its way there.
func (t *table) tcp(local, remote netip.AddrPort, device int, connecting bool) (row, error) {
	r, err := t.diagTCP(local, remote, device)
	if errors.Is(err, errNoDiag) {
		r, err = procTCP(local, remote)
	}
	if err != nil {
		return row{}, err
	}
	switch r.state {
	case stateSynSent:
		if connecting && r.local == local && r.remote == remote {
			return r, nil
		}
	case stateEstablished, stateFinWait1, stateFinWait2, stateCloseWait, stateLastAck, stateClosing:
		if r.local == local && r.remote == remote {
			return r, nil
		}
	}
	return row{}, ErrGone // TIME_WAIT, or a listener on the client's port
}

// udp returns the rows of every UDP socket on port, in both tables.
func (t *table) udp(port uint16) ([]row, error) {
	t.mu.Lock()
	rows, err := t.withDiag(func(d *diag) ([]row, error) { return d.dump(unix.IPPROTO_UDP, port) })
	t.mu.Unlock()
	if errors.Is(err, errNoDiag) {
		return procPort("udp", port)
	}
	return rows, err
}

// echo returns the rows of the ping sockets with the identifier id, and those of
// the raw sockets of ICMP, both of client's family. Of neither there are many.
func (t *table) echo(client netip.Addr, id uint16) (ping, raw []row, err error) {
	suffix, protocol := "", uint16(unix.IPPROTO_ICMP)
	if client.Is6() {
		suffix, protocol = "6", unix.IPPROTO_ICMPV6
	}
	if ping, err = procTable("icmp"+suffix, func(r row) bool { return r.local.Port() == id }); err == nil {
		raw, err = procTable("raw"+suffix, func(r row) bool { return r.local.Port() == protocol })
	}
	return ping, raw, err
}

func (t *table) diagTCP(local, remote netip.AddrPort, device int) (row, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows, err := t.withDiag(func(d *diag) ([]row, error) { return d.exact(local, remote, device) })
	if err == nil {
		t.proven = true
		return rows[0], nil
	}
	if !errors.Is(err, ErrGone) || t.proven {
		return row{}, err
	}
	// A kernel without tcp_diag says "not found" of everything: see whether it
	// finds our own end, which is there as long as the caller holds it.
	if _, err := t.withDiag(func(d *diag) ([]row, error) { return d.exact(remote, local, device) }); err != nil {
		return row{}, errNoDiag
	}
	t.proven = true
	return row{}, ErrGone
}

// withDiag runs f on the socket, opening it first if need be. A socket that
// failed is replaced next time, as an answer that came late would be taken for
// that of the next request.
func (t *table) withDiag(f func(*diag) ([]row, error)) ([]row, error) {
	if t.noDiag {
		return nil, errNoDiag
	}
	if t.diag == nil {
		d, err := openDiag()
		if err != nil {
			t.noDiag = true
			return nil, errNoDiag
		}
		t.diag = d
	}
	rows, err := f(t.diag)
	if err != nil && !errors.Is(err, ErrGone) {
		t.diag.close()
		t.diag = nil
		if errors.Is(err, errNoDiag) {
			t.noDiag = true
		}
	}
	return rows, err
}

func (t *table) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.diag != nil {
		t.diag.close()
		t.diag = nil
	}
	return nil
}
