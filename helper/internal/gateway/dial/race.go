package dial

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	stagger        = 250 * time.Millisecond // RFC 8305, section 5
	attemptTimeout = 10 * time.Second
)

// Connection is a connection and the judged address of its target. The address is zero if
// the exit resolved the name.
type Connection struct {
	net.Conn
	Addr netip.Addr
}

type attempt struct {
	Connection
	err error
}

// Race connects to the first of the addresses that answers (RFC 8305). It begins the next
// attempt when one fails, or 250 ms after the one before. The error is a *tunnel.Error.
func (d *Dialer) Race(ctx context.Context, network string, m resource.Match, addrs []netip.Addr) (Connection, error) {
	way, err := d.Exit(m.Resource)
	if err != nil {
		return Connection{}, err
	}
	if len(addrs) == 1 {
		conn, err := attemptAt(ctx, way, network, addrs[0], m.Port)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return Connection{}, Error(err)
		}
		return Connection{conn, addrs[0]}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt)
	start := func(a netip.Addr) {
		d.attempts.Go(func() {
			conn, err := attemptAt(ctx, way, network, a, m.Port)
			select {
			case results <- attempt{Connection{conn, a}, err}:
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
				return r.Connection, nil
			}
			worst = tellingOf(worst, Error(r.err))
			next.Reset(0)
		case <-ctx.Done():
			return Connection{}, tellingOf(worst, Error(context.Cause(ctx)))
		}
	}
	return Connection{}, worst
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
