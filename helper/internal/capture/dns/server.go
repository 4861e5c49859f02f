package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

const (
	ednsSize   = 1232 // that we take and send in a datagram
	maxQuery   = 4096 // bytes of a datagram that asks
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
			continue // of an earlier datagram
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
				b = s.answerUDP(query, q, who)
			default:
				if ours { // a stranger's: it waits for the nameservers, among those that do
					select {
					case s.others <- struct{}{}:
					default:
						return
					}
					<-slots
					slots = s.others
				}
				b = s.forwardUDP(buf[:n], check)
			}
			if b != nil {
				_, _ = c.WriteToUDPAddrPort(b, from)
			}
		})
	}
}

// answerUDP is answer, cut to what the client can take.
func (s *Source) answerUDP(query *dns.Msg, q records.Question, who owner.Owner) []byte {
	reply := s.answer(s.ctx, query, q, who)
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = max(size, min(int(opt.UDPSize()), ednsSize))
	}
	reply.Truncate(size)
	return pack(reply)
}

// parse reads a query and tells whether it is ours to answer. What cannot be
// read is not: the nameservers may know better.
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

// serveTCP answers connections until the listener is closed.
func (s *Source) serveTCP(ln net.Listener) {
	slots := make(chan struct{}, maxConns)
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as no descriptors left: it may pass
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		s.wg.Go(func() {
			defer func() { <-slots }()
			(&conn{s: s, client: c}).serve()
		})
	}
}

// conn is a client's TCP connection, and the one to a nameserver that its other
// questions go on.
type conn struct {
	s      *Source
	client net.Conn
	wg     sync.WaitGroup

	write    sync.Mutex // one message to the client at a time
	upstream net.Conn   // nil before the first such question
}

func (c *conn) serve() {
	if c.s.o.Place != nil {
		if _, err := c.s.o.Check(c.client); err != nil {
			_ = c.client.Close()
			return
		}
	}
	ctx, cancel := context.WithCancel(c.s.ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.client.Close() })
	defer func() {
		stop()
		cancel()
		_ = c.client.Close()
		c.wg.Wait()
	}()
	for {
		_ = c.client.SetReadDeadline(time.Now().Add(idleTime))
		b, err := readMessage(c.client)
		if err != nil {
			c.drain() // it has asked all it wanted, and may still wait
			return
		}
		query, q, ours := c.s.parse(b)
		who, err := owner.Owner{}, error(nil)
		if ours {
			who, err = c.s.o.Check(c.client)
		}
		if !ours || err != nil {
			if !c.forward(ctx, b) {
				return
			}
			continue
		}
		c.wg.Go(func() { c.reply(pack(c.s.answer(ctx, query, q, who))) })
	}
}

// drain waits for the answers under way.
func (c *conn) drain() {
	if t, ok := c.upstream.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	c.wg.Wait()
}

func (c *conn) reply(b []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.client.SetWriteDeadline(time.Now().Add(idleTime))
	if err := writeMessage(c.client, b); err != nil {
		_ = c.client.Close()
	}
}

// readMessage reads one message behind its length (RFC 1035, section 4.2.2).
func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...))
	return err
}
