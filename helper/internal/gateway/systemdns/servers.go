package systemdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// firstRound is how long each of several servers may take in the first round, so that a
// dead server does not use up the caller's time.
const firstRound = 1300 * time.Millisecond

const ednsSize = 1232 // bytes of a datagram that no path fragments

// Servers asks DNS servers directly, as the C library does.
type Servers struct {
	At       []string      // host:port each, in the order in which they are asked
	Dial     netx.DialFunc // nil means a plain connect
	Timeout  time.Duration // of one exchange; 0 means 5 s
	Attempts int           // rounds; 0 means 1
	UseTCP   bool          // always, not only for long answers
}

// Query asks the servers in order until one has an answer. If none has, it returns the
// last result. The contract is that of Resolver.Query.
func (s Servers) Query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	if s.Timeout == 0 {
		s.Timeout = 5 * time.Second
	}
	if s.Dial == nil {
		s.Dial = new(net.Dialer).DialContext
	}
	err := errors.New("no DNS server is configured")
	var unhelpful *dns.Msg
	for round := range max(1, s.Attempts) {
		timeout := s.Timeout
		if round == 0 && len(s.At) > 1 {
			timeout = min(timeout, firstRound)
		}
		for _, at := range s.At {
			var m *dns.Msg
			m, err = s.exchange(ctx, at, q, timeout)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				continue
			}
			switch m.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				return tidy(m, q), nil
			}
			unhelpful = m
		}
		if unhelpful != nil {
			return tidy(unhelpful, q), nil
		}
	}
	return nil, err
}

// exchange asks one server, and asks again by TCP if the answer does not fit a datagram.
func (s Servers) exchange(ctx context.Context, at string, q records.Question, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ask := new(dns.Msg).SetQuestion(dns.Fqdn(q.Name), q.Type)
	ask.SetEdns0(ednsSize, false)
	m, err := s.exchangeBy(ctx, at, ask, s.UseTCP)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		ask.Extra = nil // the server does not know EDNS
		m, err = s.exchangeBy(ctx, at, ask, s.UseTCP)
	}
	return m, err
}

func (s Servers) exchangeBy(ctx context.Context, at string, ask *dns.Msg, useTCP bool) (*dns.Msg, error) {
	network := "udp"
	if useTCP {
		network = "tcp"
	}
	c, err := s.Dial(ctx, network, at)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", at, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	ask.Id = dns.Id()
	// Without this the library's limit of 2 s applies.
	client := dns.Client{Net: network, Timeout: time.Minute}
	m, _, err := client.ExchangeWithConnContext(ctx, ask, &dns.Conn{Conn: c})
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", at, err)
	}
	if m.Truncated && !useTCP {
		return s.exchangeBy(ctx, at, ask, true)
	}
	if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != ask.Question[0].Qtype ||
		!strings.EqualFold(m.Question[0].Name, ask.Question[0].Name) {
		return nil, fmt.Errorf("ask %s: it answered another question", at)
	}
	return m, nil
}
