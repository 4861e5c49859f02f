package dns

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

const (
	ednsSize   = 1232 // bytes in a datagram that the stub accepts and sends
	maxQuery   = 4096 // bytes of a question by UDP
	maxConns   = 128
	idleTime   = 10 * time.Second // of a TCP connection
	headerSize = 12
)

// serveUDP answers datagrams until the socket is closed.
func (s *Source) serveUDP(c *net.UDPConn, at netip.AddrPort) {
	for {
		buf := make([]byte, maxQuery)
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the error is about an earlier datagram
		}
		query, q, ours := s.parse(buf[:n])
		slots := s.others
		if ours {
			slots = s.own
		}
		select {
		case slots <- struct{}{}:
		default:
			continue
		}
		s.wg.Go(func() {
			defer func() { <-slots }()
			who, err := owner.Owner{}, error(nil)
			check := func() bool {
				who, err = s.o.CheckUDP(at, from)
				return err == nil
			}
			var b []byte
			switch {
			case s.o.Place != nil && !check():
			case ours && check():
				b = s.answerUDP(query, q, who, buf[:n])
			default:
				if ours { // of another user: it takes a slot of the nameservers' questions
					select {
					case s.others <- struct{}{}:
					default:
						return
					}
					<-slots
					slots = s.others
				}
				b = s.forward(buf[:n], askUDP, forwardTime, check)
			}
			if b != nil {
				_, _ = c.WriteToUDPAddrPort(b, from)
			}
		})
	}
}

// answerUDP is the answer to a query, whose bytes are raw, cut to the size that
// the client can take.
func (s *Source) answerUDP(query *dns.Msg, q records.Question, who owner.Owner, raw []byte) []byte {
	reply, private := s.answer(s.ctx, query, q, who)
	if !private {
		if b := s.elsewhere(raw, askUDP); b != nil {
			return b
		}
	}
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = max(size, min(int(opt.UDPSize()), ednsSize))
	}
	reply.Truncate(size)
	return pack(reply)
}

// elsewhere returns the answer of the previous nameservers about a name that is not
// private, or nil if they do not know it either.
func (s *Source) elsewhere(raw []byte, ask exchange) []byte {
	select {
	case s.others <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-s.others }()
	b := s.forward(raw, ask, elsewhereTime, func() bool { return true })
	if b == nil || int(b[3]&0xf) != dns.RcodeSuccess {
		return nil
	}
	return b
}

// parse reads a query and tells whether the stub answers it itself. A query that
// parse cannot read goes to the nameservers.
func (s *Source) parse(b []byte) (query *dns.Msg, q records.Question, ours bool) {
	query = new(dns.Msg)
	if query.Unpack(b) != nil {
		return nil, q, false
	}
	q, ok := records.QuestionOf(query)
	return query, q, ok && s.isOurs(q)
}

func pack(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure
		b, _ = m.Pack()
	}
	return b
}
