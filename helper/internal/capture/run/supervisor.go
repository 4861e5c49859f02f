//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

const (
	// maxCalls bounds the calls that are judged at a time. Other calls wait in the
	// kernel.
	maxCalls = 4096
	// keepResult is the time for which the result of an attempt waits for the
	// program to ask.
	keepResult = time.Minute
	// msgFastOpen is MSG_FASTOPEN, a connect and a send in one.
	msgFastOpen = 0x20000000
)

// supervisor judges the calls of one tree.
type supervisor struct {
	calls     *queue
	only      bool
	captures  *handover.Client
	network   string // the namespace in which loopback is that of the captures
	slots     chan struct{}
	elsewhere recent  // what no capture covers
	kept      *keeper // nil where descriptors may be taken

	mu       sync.Mutex
	attempts map[uint64]*attempt // by the socket's inode, until the program knows the result
	carried  map[uint64][]byte   // what getpeername says, by inode
	senders  map[uint64]*sender  // UDP sockets that sent to covered targets, by inode
	silent   map[spot]*rendezvous
}

func newSupervisor(calls *queue, o Options, captures *handover.Client) *supervisor {
	s := &supervisor{calls: calls, only: o.Only, captures: captures, network: thread{id: unix.Getpid()}.network(),
		slots: make(chan struct{}, maxCalls), attempts: make(map[uint64]*attempt), carried: make(map[uint64][]byte),
		senders: make(map[uint64]*sender), silent: make(map[spot]*rendezvous)}
	if o.Keep {
		s.kept = newKeeper(calls.sealed)
	}
	return s
}

// check makes sure that the supervisor can look into a process of the tree.
func (s *supervisor) check(t thread) error {
	var b [1]byte
	err := t.read(uint64(uintptr(unsafe.Pointer(&sample))), b[:]) // the same program, at the same address or another
	if errors.Is(err, unix.EFAULT) {
		err = nil
	}
	if fd, failed := t.descriptor(0); err == nil && s.kept == nil && !errors.Is(failed, unix.EBADF) {
		_ = unix.Close(fd)
		err = failed
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("look into the command: %w: the container runtime or the kernel forbids it (with docker, add "+
		"--cap-add SYS_PTRACE; see also kernel.yama.ptrace_scope): use the proxy of the capture instead", err)
}

var sample byte

// descriptor returns a descriptor of ours for the call's socket.
func (s *supervisor) descriptor(c *call) (int, error) {
	if s.kept == nil {
		return c.t.descriptor(c.fd())
	}
	return s.kept.dup(c.t.inode(c.fd()))
}

// serve judges calls until no process is under the filter any more.
func (s *supervisor) serve() error {
	return s.calls.each(func() { s.slots <- struct{}{} }, func(c *call) {
		if c == nil {
			<-s.slots
			return
		}
		go func() {
			defer func() { <-s.slots }()
			s.judge(c)
		}()
	})
}

func (s *supervisor) judge(c *call) {
	switch c.n.nr {
	case unix.SYS_SOCKET:
		s.socket(c)
	case unix.SYS_BIND:
		s.bind(c)
	case unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
		unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_PRCTL:
		c.q.sealed.keep(c.t)
		c.pass()
	case unix.SYS_LISTEN:
		s.kept.drop(c.t.inode(c.fd()))
		c.pass()
	case unix.SYS_CONNECT:
		s.connect(c)
	case unix.SYS_SENDTO:
		s.sendTo(c)
	case unix.SYS_SENDMSG:
		s.sendMessage(c)
	case unix.SYS_SENDMMSG:
		s.sendMessages(c)
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		s.receive(c)
	case unix.SYS_GETPEERNAME:
		s.peerName(c)
	case unix.SYS_GETSOCKOPT:
		s.socketError(c)
	default:
		c.pass()
	}
}

// verdict is the decision on a call with a destination.
type verdict int

const (
	goOn    verdict = iota // as if there were no supervisor
	denied                 // it is no resource, and nothing else may be reached
	carried                // the offer says how
)

// decide asks the captures for a destination.
func (s *supervisor) decide(t thread, network tunnel.Network, d destination) (verdict, *handover.Offer) {
	if d.isLocal() {
		return goOn, nil
	}
	other := goOn
	if s.only {
		other = denied
	}
	if d.Port() == 0 || d.Addr().IsMulticast() {
		return other, nil
	}
	k := asked{network, d.AddrPort}
	if s.elsewhere.has(k) {
		return other, nil
	}
	pid := t.process()
	offer, err := s.captures.Ask(context.Background(), handover.Request{
		Network: network, Target: d.AddrPort, PID: uint32(pid), Program: owner.Program(pid)})
	if err != nil || offer == nil {
		if err == nil {
			s.elsewhere.add(k)
		}
		return other, nil
	}
	if t.network() != s.network {
		_ = offer.Close() // a namespace of its own has another loopback
		return other, nil
	}
	return carried, offer
}

// otherwise answers a call with a verdict other than carried. By default, the call
// continues. With Only, the supervisor makes the call itself: the kernel would read
// the arguments again, and the program could have changed them since they were
// judged.
func (s *supervisor) otherwise(c *call, v verdict, itself func() (int, error)) {
	switch {
	case v == denied:
		c.fail(unix.EACCES)
	case s.only:
		s.answer(c, itself)
	default:
		c.pass()
	}
}

// answer answers a call with what f returns.
func (s *supervisor) answer(c *call, f func() (int, error)) {
	n, err := f()
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	c.give(n)
}

// another answers a call for a socket that is never carried. An internet socket can
// come from another process.
func (s *supervisor) another(c *call, app int) {
	if s.only && isInternet(app) {
		c.fail(unix.EACCES)
		return
	}
	c.pass()
}

// unreadable answers a call whose arguments could not be read. The program gets the
// kernel's error for wrong arguments.
func (s *supervisor) unreadable(c *call, err error) {
	switch {
	case !s.only:
		c.pass()
	case errors.Is(err, unix.EPERM):
		c.fail(unix.EACCES)
	default:
		c.fail(errnoOf(err))
	}
}

// unheld answers a call for a socket of which we have no descriptor. away tells
// whether the call has a destination other than loopback. If descriptors cannot be
// taken, such sockets are connected already, or belong to servers.
func (s *supervisor) unheld(c *call, err error, away bool) {
	if !s.only || s.kept == nil {
		s.unreadable(c, err)
		return
	}
	ino := c.t.inode(c.fd())
	s.mu.Lock()
	_, connected := s.carried[ino]
	if _, datagrams := s.senders[ino]; datagrams {
		connected = false // each datagram may name another destination
	}
	s.mu.Unlock()
	switch {
	case ino == 0:
		c.fail(unix.EBADF)
	case away && !connected:
		c.fail(unix.EACCES)
	default:
		c.pass()
	}
}

// destination reads the address at ptr.
func (c *call) destination(ptr uint64, length int) (d destination, raw []byte, ok bool, err error) {
	if length < 2 || length > maxSockaddr {
		return d, nil, false, nil
	}
	raw = make([]byte, length)
	if err := c.t.read(ptr, raw); err != nil {
		return d, nil, false, err
	}
	if !c.waits() {
		return d, nil, false, unix.ENOENT
	}
	d, ok = parseSockaddr(raw)
	return d, raw, ok, nil
}

// peerName answers for a socket that is connected to us in place of its target.
func (s *supervisor) peerName(c *call) {
	s.mu.Lock()
	some := len(s.carried) > 0
	s.mu.Unlock()
	if !some {
		c.pass()
		return
	}
	ino := c.t.inode(c.fd())
	s.mu.Lock()
	name := s.carried[ino]
	s.mu.Unlock()
	if name == nil {
		c.pass()
		return
	}
	if errno := c.writeName(c.n.args[1], c.n.args[2], name); errno != 0 {
		c.fail(errno)
		return
	}
	c.fail(0)
}

// writeName writes a socket address as the kernel does: as much as there is room
// for, and the full length.
func (c *call) writeName(at, lengthAt uint64, name []byte) unix.Errno {
	var length [4]byte
	if err := c.t.read(lengthAt, length[:]); err != nil {
		return unix.EFAULT
	}
	room := int(int32(binary.NativeEndian.Uint32(length[:])))
	if room < 0 {
		return unix.EINVAL
	}
	binary.NativeEndian.PutUint32(length[:], uint32(len(name)))
	if !c.waits() || c.t.write(at, name[:min(room, len(name))]) != nil || c.t.write(lengthAt, length[:]) != nil {
		return unix.EFAULT
	}
	return 0
}

// errnoOf is the error number in err.
func errnoOf(err error) unix.Errno {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return unix.EIO
}

// failure returns the errno of a connect for an answer of the gateway.
func failure(err error) unix.Errno {
	var e *tunnel.Error
	if !errors.As(err, &e) {
		return unix.ENETDOWN // the capture is gone
	}
	switch e.Code {
	case tunnel.Denied:
		return unix.EACCES
	case tunnel.Refused:
		return unix.ECONNREFUSED
	case tunnel.NetUnreachable:
		return unix.ENETUNREACH
	case tunnel.TimedOut:
		return unix.ETIMEDOUT
	default:
		return unix.EHOSTUNREACH
	}
}
