package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	stagger        = 250 * time.Millisecond // RFC 8305, section 5
	attemptTimeout = 10 * time.Second
)

// dialer resolves, judges and dials. Every address that it dials was judged
// with the match it is dialled for.
type dialer struct {
	system     Exit // the machine's own way
	exits      atomic.Pointer[map[string]Exit]
	interfaces func() ([]netip.Prefix, error)
	ownPorts   []uint16
	timeout    time.Duration  // of resolving and dialling together
	attempts   sync.WaitGroup // dials, those that lost the race included
}

// Exit is one way into a private network: it resolves names and dials literal
// addresses. The gateway judges in between.
type Exit interface {
	Resolver
	Records
	// Dial is as netx.DialFunc; an error that is a *tunnel.Error is the answer.
	// A name is dialled if its resource has it resolved by the exit.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// ownWay is the exit of resources that name none.
type ownWay struct {
	dial netx.DialFunc
	Resolver
	Records
	ping func(ctx context.Context, to netip.Addr, data []byte) ([]byte, error)
}

// Dial implements Exit.
func (w ownWay) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return w.dial(ctx, network, address)
}

// Ping implements pinger.
func (w ownWay) Ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	return w.ping(ctx, to, data)
}

// exit returns the way to a resource. The error is a *tunnel.Error.
func (d *dialer) exit(r resource.Resource) (Exit, error) {
	if r.Exit == "" {
		return d.system, nil
	}
	if exits := d.exits.Load(); exits != nil {
		if e := (*exits)[r.Exit]; e != nil {
			return e, nil
		}
	}
	return nil, &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf("the gateway has no exit called %q", r.Exit)}
}

// open connects to what a match stands for. The error is a *tunnel.Error.
func (d *dialer) open(ctx context.Context, network resource.Network, m resource.Match) (dialled, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if m.ByExit() {
		return d.openByName(ctx, network, m)
	}
	addrs, err := d.resolve(ctx, m)
	if err != nil {
		return dialled{}, err
	}
	v, err := d.judge(m, addrs)
	if err != nil {
		return dialled{}, err
	}
	if len(v.allowed) == 0 {
		return dialled{}, &tunnel.Error{Code: tunnel.Denied, Reason: v.reason()}
	}
	return d.race(ctx, string(network), m, v.allowed)
}

// openByName leaves the name to the exit, whose address nobody here can judge.
func (d *dialer) openByName(ctx context.Context, network resource.Network, m resource.Match) (dialled, error) {
	way, err := d.exit(m.Resource)
	if err != nil {
		return dialled{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := way.Dial(ctx, string(network), net.JoinHostPort(m.Name, strconv.Itoa(int(m.Port))))
	if err != nil {
		return dialled{}, dialError(err)
	}
	return dialled{conn: conn}, nil
}

// resolve returns the addresses that a match may stand for, not judged yet.
func (d *dialer) resolve(ctx context.Context, m resource.Match) ([]netip.Addr, error) {
	switch {
	case m.Addr.IsValid():
		return []netip.Addr{m.Addr}, nil
	case m.Resource.Host.IsLocalhost():
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	case m.ByExit():
		return nil, &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("%s is resolved by its exit: no address is known here", m.Name)}
	}
	way, err := d.exit(m.Resource)
	if err != nil {
		return nil, err
	}
	addrs, err := way.LookupNetIP(ctx, m.Name)
	if err != nil {
		return nil, resolveError(m.Resource, m.Name, err)
	}
	if len(addrs) == 0 {
		return nil, resolveError(m.Resource, m.Name, &net.DNSError{IsNotFound: true})
	}
	return addrs, nil
}

func (d *dialer) judge(m resource.Match, addrs []netip.Addr) (verdict, error) {
	own, err := d.interfaces()
	if err != nil {
		return verdict{}, &tunnel.Error{Code: tunnel.Failed, Reason: "this machine's own addresses cannot be listed"}
	}
	return judge(m, addrs, surroundings{own: own, ownPorts: d.ownPorts}), nil
}

// dialled is a connection and the judged address that it leads to, which is zero
// if the exit resolved the name.
type dialled struct {
	conn net.Conn
	addr netip.Addr
}

type attempt struct {
	dialled
	err error
}

// race connects to the first of the addresses that answers: one attempt after
// the other, the next as soon as one fails or the stagger has passed.
func (d *dialer) race(ctx context.Context, network string, m resource.Match, addrs []netip.Addr) (dialled, error) {
	way, err := d.exit(m.Resource)
	if err != nil {
		return dialled{}, err
	}
	if len(addrs) == 1 {
		conn, err := attemptAt(ctx, way, network, addrs[0], m.Port)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return dialled{}, dialError(err)
		}
		return dialled{conn, addrs[0]}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt)
	start := func(a netip.Addr) {
		d.attempts.Go(func() {
			conn, err := attemptAt(ctx, way, network, a, m.Port)
			select {
			case results <- attempt{dialled{conn, a}, err}:
			case <-ctx.Done():
				if conn != nil {
					netx.ResetConn(conn, "another address was faster")
				}
			}
		})
	}
	queue := interleave(addrs)
	next := time.NewTimer(0)
	defer next.Stop()
	var worst *tunnel.Error
	for pending := 0; len(queue) > 0 || pending > 0; {
		select {
		case <-next.C:
			if len(queue) > 0 {
				start(queue[0])
				queue = queue[1:]
				pending++
				next.Reset(stagger)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				return r.dialled, nil
			}
			worst = tellingOf(worst, dialError(r.err))
			next.Reset(0)
		case <-ctx.Done():
			return dialled{}, tellingOf(worst, dialError(context.Cause(ctx)))
		}
	}
	return dialled{}, worst
}

func attemptAt(ctx context.Context, way Exit, network string, a netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return way.Dial(ctx, network, netip.AddrPortFrom(a, port).String())
}

// interleave alternates between the address families, beginning with that of
// the first address.
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, second, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// tellingOf returns the error that says more about the target: that one family
// has no route says least.
func tellingOf(a, b *tunnel.Error) *tunnel.Error {
	rank := func(e *tunnel.Error) int {
		switch {
		case e == nil:
			return 0
		case e.Code == tunnel.Refused || e.Code == tunnel.Reset:
			return 5
		case e.Code == tunnel.TimedOut:
			return 4
		case e.Code == tunnel.HostUnreachable:
			return 3
		case e.Code == tunnel.NetUnreachable:
			return 2
		}
		return 1
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// dialError turns the failure of a dial into an answer.
func dialError(err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		code := codeOfErrno(errno)
		reason := errno.Error()
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
			reason = fmt.Sprintf("%s: %s", op.Addr, reason)
		}
		return &tunnel.Error{Code: code, Reason: reason}
	}
	if isTimeout(err) {
		return &tunnel.Error{Code: tunnel.TimedOut, Reason: "no answer in time"}
	}
	if errors.Is(err, context.Canceled) {
		return &tunnel.Error{Code: tunnel.Failed, Reason: "no longer wanted"}
	}
	return &tunnel.Error{Code: tunnel.Failed, Reason: err.Error()}
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
