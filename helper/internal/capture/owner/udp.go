package owner

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

const (
	// soleTime is how long a socket counts as the only one on its port after all
	// sockets on the port were looked at. A stranger who takes the port at another
	// address meanwhile can pass datagrams off as the user's. That opens no door: a
	// stranger who closes its socket after sending is not seen by a later look either.
	soleTime = 100 * time.Millisecond
	// maxSenders bounds how many senders are known at a time.
	maxSenders = 1024
)

// datagrams are those that one socket sends to another.
type datagrams struct{ local, remote netip.AddrPort }

// sender is a socket that was found to send datagrams.
type sender struct {
	inode uint32
	until time.Time // when all sockets on its port are to be looked at again
}

// CheckUDP tells who sent a datagram from remote, a socket of this host, to
// local. The source of a datagram proves its port only, since the sender
// chooses among the host's addresses: so every socket that holds remote's port
// has to be allowed, and one of them has to be bound to remote's address or to
// all. The result holds for that moment, not for later datagrams.
//
// The kernel walks through its whole table to list the sockets on a port. So while
// the same socket goes on sending, CheckUDP asks for that one alone, and lists the
// others every 100 ms.
func (k *Checker) CheckUDP(local, remote netip.AddrPort) (Owner, error) {
	return k.settle(k.checkUDP(local, remote))
}

func (k *Checker) checkUDP(local, remote netip.AddrPort) (Owner, error) {
	local, remote = kernelnet.Unmap(local), kernelnet.Unmap(remote)
	if !remote.IsValid() || remote.Port() == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: no such source", remote)
	}
	d := datagrams{local, remote}
	if o, err := k.stillSends(d); err == nil {
		return o, nil
	}
	now := time.Now()
	all, err := k.table.UDPPort(remote.Port())
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of %s: %w", remote, err)
	}
	o, err := k.judgeUDP(all, local, remote)
	k.sending.Lock()
	defer k.sending.Unlock()
	delete(k.senders, d)
	if err == nil {
		if len(k.senders) >= maxSenders {
			clear(k.senders)
		}
		k.senders[d] = sender{o.Inode, now.Add(soleTime)}
	}
	return o, err
}

// stillSends asks whether the socket that was found to send such datagrams still
// has the address, and whose it is now.
func (k *Checker) stillSends(d datagrams) (Owner, error) {
	k.sending.Lock()
	known, ok := k.senders[d]
	k.sending.Unlock()
	if !ok || time.Now().After(known.until) {
		return Owner{}, ErrGone
	}
	s, err := k.table.UDP(d.remote, d.local)
	if err == nil && s.Inode != known.inode {
		err = ErrGone
	}
	if err != nil {
		return Owner{}, err
	}
	return k.judge(s)
}

// judgeUDP judges the sockets on the port of remote.
func (k *Checker) judgeUDP(all []kernelnet.Socket, local, remote netip.AddrPort) (Owner, error) {
	found := Owner{}
	for _, s := range all {
		o, err := k.judge(s)
		if err != nil {
			return Owner{}, err
		}
		if s.Local == local {
			continue // our own end, where both ends use the same port number
		}
		if a := s.Local.Addr(); a == remote.Addr() || a.IsUnspecified() {
			found = o
		}
	}
	if found.Inode == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: %w", remote, ErrGone)
	}
	return found, nil
}
