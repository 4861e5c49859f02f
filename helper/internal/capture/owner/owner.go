// Package owner tells which user is at the other end of a local connection,
// from the kernel's socket tables. It guards the listeners of the capture,
// which every user of the remote host could reach otherwise. It opens no
// listener and drops no connection: its callers do.
package owner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"sync"
)

// Owner is the user who made a socket.
type Owner struct {
	UID   int
	User  string // its name, or the number where there is none
	Inode uint32 // of the socket, never 0
}

const loopbackIndex = 1 // of lo, in every namespace

// Errors of a check; errors.Is tells them apart.
var (
	// ErrGone means that the socket has no owner any more, or never had a row:
	// a closed socket shows as root's, so it proves nothing.
	ErrGone = errors.New("the connecting socket is gone")
	// ErrStranger means that another user made the socket.
	ErrStranger = errors.New("another user's socket")
)

// Checker allows the sockets of one user and of root. It is safe for
// concurrent use.
type Checker struct {
	uid   int
	table table

	mu    sync.Mutex
	names map[int]string // at most two entries: only allowed users are named

	finding sync.Mutex
	finder  finder
}

// row is one line of a socket table, seen from its owner.
type row struct {
	local, remote netip.AddrPort // unmapped
	state         uint8          // as in net/tcp_states.h
	uid, inode    uint32
}

// New returns a Checker that allows uid, the effective one of the helper, and
// root. It opens nothing before the first check.
func New(uid int) *Checker {
	return &Checker{uid: uid, names: make(map[int]string, 2)}
}

// Close releases the Checker's socket. Checks after it open another.
func (k *Checker) Close() error { return k.table.close() }

// Check tells who connected c, a TCP connection accepted on this host. It
// fails unless the client's socket is there, has an owner, and that is the
// allowed user or root.
func (k *Checker) Check(c net.Conn) (Owner, error) {
	local, lok := tcpAddr(c.LocalAddr())
	remote, rok := tcpAddr(c.RemoteAddr())
	if !lok || !rok {
		return Owner{}, fmt.Errorf("check owner of %v: not a TCP connection", c.RemoteAddr())
	}
	return k.check(remote, local, loopbackIndex, false)
}

// CheckConnecting is Check for a connection from client, a socket of this host,
// to server, an address beyond the device of that index, that may not be
// established yet.
func (k *Checker) CheckConnecting(client, server netip.AddrPort, device int) (Owner, error) {
	return k.check(unmap(client), unmap(server), device, true)
}

func (k *Checker) check(client, server netip.AddrPort, device int, connecting bool) (Owner, error) {
	r, err := k.table.tcp(client, server, device, connecting)
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of %s: %w", client, err)
	}
	return k.judge(r)
}

// CheckUDP tells who sent a datagram from remote, a socket of this host, to
// local. The source of a datagram proves its port only, since the sender
// chooses among the host's addresses: so every socket that holds remote's port
// has to be allowed, and one of them has to be bound to remote's address or to
// all. The result holds for that moment, not for later datagrams.
func (k *Checker) CheckUDP(local, remote netip.AddrPort) (Owner, error) {
	local, remote = unmap(local), unmap(remote)
	if !remote.IsValid() || remote.Port() == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: no such source", remote)
	}
	rows, err := k.table.udp(remote.Port())
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of %s: %w", remote, err)
	}
	return k.judgeUDP(rows, local, remote)
}

// CheckEcho tells who sent an echo request with the identifier id from client, an
// address of this host. A ping socket is known by its identifier. A raw socket
// may send any, so that all of those of ICMP have to be allowed ones, and one of
// them may have sent it.
func (k *Checker) CheckEcho(client netip.Addr, id uint16) (Owner, error) {
	rows, raw, err := k.table.echo(client, id)
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of a ping from %s: %w", client, err)
	}
	return k.judgeEcho(rows, raw, client)
}

func (k *Checker) judgeEcho(rows, raw []row, client netip.Addr) (Owner, error) {
	if len(rows) == 0 {
		rows = raw
	}
	found := Owner{}
	for _, r := range rows {
		o, err := k.judge(r)
		if err != nil {
			return Owner{}, err
		}
		if a := r.local.Addr(); a == client || a.IsUnspecified() {
			found = o
		}
	}
	if found.Inode == 0 {
		return Owner{}, fmt.Errorf("check owner of a ping from %s: %w", client, ErrGone)
	}
	return found, nil
}

func (k *Checker) judgeUDP(rows []row, local, remote netip.AddrPort) (Owner, error) {
	found := Owner{}
	for _, r := range rows {
		o, err := k.judge(r)
		if err != nil {
			return Owner{}, err
		}
		if r.local == local {
			continue // our own end, where both ends use the same port number
		}
		if a := r.local.Addr(); a == remote.Addr() || a.IsUnspecified() {
			found = o
		}
	}
	if found.Inode == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: %w", remote, ErrGone)
	}
	return found, nil
}

func (k *Checker) judge(r row) (Owner, error) {
	if r.inode == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: %w", r.local, ErrGone)
	}
	if uid := int(r.uid); uid != 0 && uid != k.uid {
		return Owner{}, fmt.Errorf("check owner of %s: %w (uid %d)", r.local, ErrStranger, uid)
	}
	return Owner{UID: int(r.uid), User: k.name(int(r.uid)), Inode: r.inode}, nil
}

// Process tells which process has the socket that a check was about, as far as
// this user may know it. It takes well below a millisecond, mostly: where it
// would cost more, as with very many connections, it knows nothing, unless it
// has to be found.
func (k *Checker) Process(o Owner, must bool) Process {
	k.finding.Lock()
	defer k.finding.Unlock()
	p := Process{UID: o.UID, User: o.User, PID: k.finder.find(o.Inode, o.UID, must)}
	if p.PID != 0 {
		p.Program = program(p.PID)
	}
	return p
}

func (k *Checker) name(uid int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.names[uid]; !ok {
		k.names[uid] = UserName(uid)
	}
	return k.names[uid]
}

// UserName is the name of a user, or the number where there is none.
func UserName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func tcpAddr(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return unmap(t.AddrPort()), true
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
