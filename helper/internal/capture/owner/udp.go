package owner

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

const (
	// soleTime is the time for which the result of a look at all sockets on a port
	// counts. During this time, another user can bind the port at another address
	// and forge datagrams of the allowed user. A shorter time would not prevent
	// that: the other user could close the socket right after sending.
	soleTime = 100 * time.Millisecond
	// maxSenders bounds the senders that are remembered.
	maxSenders = 1024
)

// datagrams identifies the datagrams of one socket to another.
type datagrams struct{ local, remote netip.AddrPort }

// sender is a socket that sent datagrams and was allowed.
type sender struct {
	inode uint32
	until time.Time // when all sockets on its port are to be looked at again
}

// CheckUDP finds the sender of a datagram from remote, a socket of this host, to
// local. The source of a datagram proves only the port, since the sender can choose
// any address of the host. So every socket on remote's port must be allowed, and one
// of them must be bound to remote's address or to all addresses. The result holds
// for that moment, not for later datagrams.
//
// The kernel walks through its whole table to list the sockets on a port. So while
// the same socket keeps sending, CheckUDP looks up only that socket, and lists the
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

// stillSends looks up the socket that sent d before. It fails if another socket has
// the address now, or if the owner is not allowed any more.
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
