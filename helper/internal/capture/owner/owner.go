// Package owner tells which user is at the other end of a local connection, from the
// kernel's socket tables. It decides who may use the listeners of the capture, which
// every user of the remote can reach. It opens no listener and closes no connection:
// its callers do.
package owner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

// Owner is the user who opened a socket.
type Owner struct {
	UID   int
	User  string // its name, or the number where there is none; "" if unknown
	Inode uint32 // of the socket; 0 if unknown
}

// unknown stands for a sender that cannot be found, if Users serve it.
var unknown = Owner{UID: -1}

// Errors of a check; errors.Is tells them apart.
var (
	// ErrGone means that the socket is closed or was never in the table. A closed
	// socket shows uid 0, so its row proves nothing.
	ErrGone = kernelnet.ErrGone
	// ErrStranger means that a user who is not served opened the socket.
	ErrStranger = errors.New("another user's socket")
)

// Checker allows the sockets of some users and of root. It is safe for
// concurrent use.
type Checker struct {
	// Users says who is served besides uid and root. Set it before the first check.
	Users Users
	// Refused, if it is not nil, is told once of each user who was refused, for at
	// most 16 users. It must not block. Set it before the first check.
	Refused func(user string)

	uid   int
	table kernelnet.Table

	sending sync.Mutex
	senders map[datagrams]sender // who was found lately to send UDP

	mu    sync.Mutex
	names map[int]string // at most maxNames
	told  map[int]bool   // of whom Refused was told, at most maxTold

	finding sync.Mutex
	finder  finder
}

const (
	maxNames = 256
	maxTold  = 16
)

// New returns a Checker that allows root and uid, the helper's effective user. It
// opens no socket before the first check.
func New(uid int) *Checker {
	return &Checker{uid: uid, names: make(map[int]string), told: make(map[int]bool), senders: make(map[datagrams]sender)}
}

// Close releases the Checker's sockets. Checks after it open others.
func (k *Checker) Close() error { return k.table.Close() }

// Check finds the user at the other end of c, a TCP connection accepted on this
// host. It fails if the client's socket is closed, or belongs to a user who is not
// allowed. If everyone is served, it does not fail, and with Users.Gone not for a
// closed socket; the Owner of a closed socket has no name then.
func (k *Checker) Check(c net.Conn) (Owner, error) { return k.settle(k.checkConn(c)) }

func (k *Checker) checkConn(c net.Conn) (Owner, error) {
	s, err := k.table.Peer(c)
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of %v: %w", c.RemoteAddr(), err)
	}
	return k.judge(s)
}

// CheckConnecting is Check for a connection from client, a socket of this host, to
// server, an address beyond the device of that index. The connection need not be
// established yet.
func (k *Checker) CheckConnecting(client, server netip.AddrPort, device int) (Owner, error) {
	return k.settle(k.checkConnecting(client, server, device))
}

func (k *Checker) checkConnecting(client, server netip.AddrPort, device int) (Owner, error) {
	client = kernelnet.Unmap(client)
	s, err := k.table.TCP(client, kernelnet.Unmap(server), device, true)
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of %s: %w", client, err)
	}
	return k.judge(s)
}

// CheckEcho finds the sender of an echo request with the identifier id from client,
// an address of this host. A ping socket has one identifier. A raw socket can send
// any, so if there is no ping socket, all raw sockets of ICMP must belong to allowed
// users.
func (k *Checker) CheckEcho(client netip.Addr, id uint16) (Owner, error) {
	return k.settle(k.checkEcho(client, id))
}

func (k *Checker) checkEcho(client netip.Addr, id uint16) (Owner, error) {
	rows, raw, err := k.table.Echo(client, id)
	if err != nil {
		return Owner{}, fmt.Errorf("check owner of a ping from %s: %w", client, err)
	}
	return k.judgeEcho(rows, raw, client)
}

func (k *Checker) judgeEcho(rows, raw []kernelnet.Socket, client netip.Addr) (Owner, error) {
	if len(rows) == 0 {
		rows = raw
	}
	found := Owner{}
	for _, r := range rows {
		o, err := k.judge(r)
		if err != nil {
			return Owner{}, err
		}
		if a := r.Local.Addr(); a == client || a.IsUnspecified() {
			found = o
		}
	}
	if found.Inode == 0 {
		return Owner{}, fmt.Errorf("check owner of a ping from %s: %w", client, ErrGone)
	}
	return found, nil
}

func (k *Checker) judge(s kernelnet.Socket) (Owner, error) {
	if s.Inode == 0 {
		return Owner{}, fmt.Errorf("check owner of %s: %w", s.Local, ErrGone)
	}
	if uid := int(s.UID); !k.allows(uid) {
		return Owner{}, &stranger{at: s.Local, uid: uid, user: k.name(uid)}
	}
	return Owner{UID: int(s.UID), User: k.name(int(s.UID)), Inode: s.Inode}, nil
}

func (k *Checker) allows(uid int) bool {
	return uid == 0 || uid == k.uid || k.Users.Everyone || slices.Contains(k.Users.UIDs, uid)
}

// settle turns what was found into the result of a check, and reports a user who is
// refused.
func (k *Checker) settle(o Owner, err error) (Owner, error) {
	if err == nil {
		return o, nil
	}
	if k.Users.Everyone || k.Users.Gone && errors.Is(err, ErrGone) {
		return unknown, nil
	}
	if s, ok := errors.AsType[*stranger](err); ok && k.Refused != nil {
		k.mu.Lock()
		fresh := !k.told[s.uid] && len(k.told) < maxTold
		if fresh {
			k.told[s.uid] = true
		}
		k.mu.Unlock()
		if fresh {
			k.Refused(s.user)
		}
	}
	return Owner{}, err
}

// stranger is an error that wraps ErrStranger and says who is refused.
type stranger struct {
	at   netip.AddrPort
	uid  int
	user string
}

func (s *stranger) Error() string {
	return fmt.Sprintf("check owner of %s: it is a socket of the user %s (uid %d), who is not served: see \"causeway.users\", or \"connect --users\"",
		s.at, s.user, s.uid)
}

func (s *stranger) Unwrap() error { return ErrStranger }

// Process finds the process that has the socket of a check, as far as this user may
// list descriptors. It usually takes well below a millisecond. If it would take
// longer, as with very many connections, the result has no process, unless must is
// set.
func (k *Checker) Process(o Owner, must bool) Process {
	k.finding.Lock()
	defer k.finding.Unlock()
	p := Process{UID: o.UID, User: o.User}
	if o.Inode != 0 {
		p.PID = k.finder.find(o.Inode, o.UID, must)
	}
	if p.PID != 0 {
		p.Program = program(p.PID)
	}
	return p
}

func (k *Checker) name(uid int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.names[uid]; !ok {
		if len(k.names) >= maxNames {
			clear(k.names)
		}
		k.names[uid] = UserName(uid)
	}
	return k.names[uid]
}

// UserName returns the name of a user, or the number if the user has no name.
func UserName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
