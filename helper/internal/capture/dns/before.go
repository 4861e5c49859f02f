package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// Before resolves names and connects as programs of this machine did without the
// capture. It asks the previous nameservers of resolv.conf. It does not read the
// hosts file, in which names have addresses of the capture. It is safe for concurrent
// use.
type Before struct {
	up   upstreams
	port uint16
}

// NewBefore returns a Before that reads the resolv.conf at path.
func NewBefore(path string) *Before {
	b := &Before{port: 53}
	b.up.path = path
	b.up.own.Store(new(netip.AddrPort))
	return b
}

// beforeTime is how long one nameserver may take.
const beforeTime = 2 * time.Second

// Dial connects to a port of a name.
func (b *Before) Dial(ctx context.Context, network, name string, port uint16) (net.Conn, error) {
	addrs, err := b.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		var c net.Conn
		d := net.Dialer{Timeout: 30 * time.Second / time.Duration(len(addrs))}
		if c, err = d.DialContext(ctx, network, net.JoinHostPort(a.String(), strconv.Itoa(int(port)))); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// lookUp returns the addresses of name, those of IPv4 first.
func (b *Before) lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	var found [2][]netip.Addr
	var errs [2]error
	var wg sync.WaitGroup
	for i, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		wg.Go(func() { found[i], errs[i] = b.ask(ctx, name, kind) })
	}
	wg.Wait()
	if all := slices.Concat(found[0], found[1]); len(all) > 0 {
		return all, nil
	}
	return nil, errors.Join(errs[0], errs[1])
}

func (b *Before) ask(ctx context.Context, name string, kind uint16) ([]netip.Addr, error) {
	query, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind).SetEdns0(ednsSize, false).Pack()
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name}
	}
	for _, server := range b.up.list(func() bool { return false }) {
		at := netip.AddrPortFrom(server, b.port).String()
		m := answerOf(ctx, askUDP, at, query)
		if m != nil && m.Truncated {
			m = answerOf(ctx, askTCP, at, query)
		}
		if m == nil || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			continue // ask the next one
		}
		var all []netip.Addr
		for _, rr := range m.Answer {
			if a, ok := records.AddressOf(rr); ok {
				all = append(all, a)
			}
		}
		if len(all) > 0 {
			return all, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return nil, &net.DNSError{Err: "no nameserver answers", Name: name, IsTemporary: true}
}

func answerOf(ctx context.Context, ask exchange, at string, query []byte) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, beforeTime)
	defer cancel()
	m := new(dns.Msg)
	if b := ask(ctx, at, query); b == nil || m.Unpack(b) != nil {
		return nil
	}
	return m
}
