package dns

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// nextTime is how long one nameserver may take before the stub asks the next one
	// too.
	nextTime = 1 * time.Second
	// forwardTime is how long clients wait for an answer.
	forwardTime = 10 * time.Second
	// elsewhereTime is how long the nameservers may take to answer about a name that
	// the laptop does not know.
	elsewhereTime = 2 * time.Second
)

// exchange asks one nameserver and returns its answer, or nil.
type exchange func(ctx context.Context, at string, b []byte) []byte

// forward passes a query on as it is and returns the first answer to it. Like
// glibc, it asks the next nameserver too if one fails or refuses. It returns a
// failure if no nameserver can be reached, and nil if none says anything within
// limit. For allowed see upstreams.
func (s *Source) forward(b []byte, ask exchange, limit time.Duration, allowed func() bool) []byte {
	if len(b) < headerSize {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	servers := s.up.list(allowed)
	if len(servers) == 0 {
		return failed(b)
	}
	results := make(chan []byte, len(servers))
	next := time.NewTimer(0)
	defer next.Stop()
	var refusal []byte // the first
	for started, ended := 0, 0; ; {
		select {
		case <-next.C:
			if started < len(servers) {
				at := s.upstreamAt(servers[started])
				started++
				s.wg.Go(func() { results <- ask(ctx, at, b) })
				next.Reset(nextTime)
			}
		case answer := <-results:
			if answer != nil && !isRefusal(answer) {
				return answer
			}
			if refusal == nil {
				refusal = answer
			}
			if ended++; ended == len(servers) {
				switch {
				case refusal != nil:
					return refusal
				case ctx.Err() != nil:
					return nil
				}
				return failed(b)
			}
			next.Reset(0)
		case <-ctx.Done():
			return refusal
		}
	}
}

// isRefusal tells whether another nameserver may know better.
func isRefusal(answer []byte) bool {
	switch int(answer[3] & 0xf) {
	case dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
		return true
	}
	return false
}

// askTCP is askUDP over TCP.
func askTCP(ctx context.Context, at string, b []byte) []byte {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	to := &dns.Conn{Conn: c}
	if _, err := to.Write(b); err != nil {
		return nil
	}
	answer, err := to.ReadMsgHeader(nil)
	if err != nil {
		return nil
	}
	return answer
}

// upstreamAt is the address of a nameserver. All have the port of the stub, which is
// 53.
func (s *Source) upstreamAt(a netip.Addr) string { return netip.AddrPortFrom(a, s.o.Port).String() }

// askUDP returns the answer of one nameserver, or nil.
func askUDP(ctx context.Context, at string, b []byte) []byte {
	c, err := new(net.Dialer).DialContext(ctx, "udp", at)
	if err != nil {
		return nil
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.Write(b); err != nil {
		return nil
	}
	answer := make([]byte, dns.MaxMsgSize)
	for {
		n, err := c.Read(answer)
		if err != nil {
			return nil
		}
		if n >= headerSize && answer[0] == b[0] && answer[1] == b[1] {
			return answer[:n]
		}
	}
}

// failed returns SERVFAIL for a query, or nil if b is no query.
func failed(b []byte) []byte {
	query := new(dns.Msg)
	if query.Unpack(b) != nil {
		return nil
	}
	m := new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
	m.RecursionAvailable = true
	return pack(m)
}
