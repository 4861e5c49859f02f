package dns

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// serveTCP answers connections until the listener is closed. The library's server
// reads the questions. By itself it answers them one after the other and hides their
// bytes. This code adds two things: no question waits for another one, and questions
// for the nameservers pass unchanged.
func (s *Source) serveTCP(ln net.Listener) {
	server := &dns.Server{
		Listener:      &listener{Listener: ln, s: s, slots: make(chan struct{}, maxConns)},
		Handler:       dns.HandlerFunc(s.answerTCP),
		ReadTimeout:   idleTime,
		IdleTimeout:   func() time.Duration { return idleTime },
		MaxTCPQueries: -1, // the idle time and maxConns bound them
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		DecorateReader: func(r dns.Reader) dns.Reader {
			return reader{r}
		},
	}
	_ = server.ActivateAndServe()
}

// listener accepts the clients that Check admits, at most as many as it has slots.
type listener struct {
	net.Listener
	s     *Source
	slots chan struct{}
}

// Accept returns a *client. It fails only when the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil { // for example no descriptors left: try again
			select {
			case <-l.s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		x := newClient(l.s, c, func() { <-l.slots })
		if l.s.o.Place != nil {
			if _, err := l.s.o.Check(c); err != nil {
				_ = x.Close()
				continue
			}
		}
		return x, nil
	}
}

func newClient(s *Source, c net.Conn, leave func()) *client {
	x := &client{Conn: c, s: s, leave: leave}
	x.ctx, x.stop = context.WithCancel(s.ctx)
	context.AfterFunc(x.ctx, func() { _ = c.Close() })
	return x
}

// client is a client's TCP connection, and the connection to a nameserver for its
// other questions.
type client struct {
	net.Conn
	s        *Source
	ctx      context.Context // alive until Close
	stop     context.CancelFunc
	leave    func()
	once     sync.Once
	wg       sync.WaitGroup // answers under way
	upstream net.Conn       // nil before the first such question
	question records.Question
	who      owner.Owner // the program that asks it
	raw      []byte
}

// clientAddr leads from the library's dns.ResponseWriter to the client.
type clientAddr struct {
	net.Addr
	c *client
}

// RemoteAddr returns a clientAddr.
func (c *client) RemoteAddr() net.Addr { return clientAddr{c.Conn.RemoteAddr(), c} }

// Write writes one message. If the client does not take it, the connection ends.
func (c *client) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(idleTime))
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

// Close ends the connection and waits for the answers under way.
func (c *client) Close() error {
	c.once.Do(func() {
		c.stop()
		_ = c.Conn.Close()
		c.wg.Wait()
		c.leave()
	})
	return nil
}

// drain waits for the answers to a client that has asked all that it wanted.
func (c *client) drain() {
	if t, ok := c.upstream.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	c.wg.Wait()
}

// reader returns the questions that the stub answers itself, and passes the others
// on.
type reader struct{ dns.Reader }

// ReadTCP implements dns.Reader.
func (r reader) ReadTCP(conn net.Conn, timeout time.Duration) ([]byte, error) {
	c := conn.(*client)
	for {
		b, err := r.Reader.ReadTCP(conn, timeout)
		if err != nil {
			c.drain()
			return nil, err
		}
		if _, q, ours := c.s.parse(b); ours {
			if who, err := c.s.o.Check(c.Conn); err == nil {
				c.question, c.who, c.raw = q, who, b
				return b, nil
			}
		}
		if !c.forward(b) {
			return nil, errUnusable
		}
		timeout = idleTime
	}
}

var errUnusable = errors.New("the connection to the nameserver is lost")

// answerTCP is the library's handler for a question that the stub answers itself.
func (s *Source) answerTCP(w dns.ResponseWriter, query *dns.Msg) {
	c := w.RemoteAddr().(clientAddr).c
	q, who, raw := c.question, c.who, c.raw
	select {
	case s.own <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	c.wg.Go(func() {
		defer func() { <-s.own }()
		reply, private := s.answer(c.ctx, query, q, who)
		b := pack(reply)
		if !private {
			if other := s.elsewhere(raw, askTCP); other != nil {
				b = other
			}
		}
		_, _ = w.Write(b)
	})
}

// forward passes a query on over the client's own connection to a nameserver. The
// answers go back as they come; a zone transfer has many. It returns false if the
// client's connection cannot be used any more.
func (c *client) forward(b []byte) bool {
	if c.upstream == nil {
		allowed := func() bool { _, err := c.s.o.Check(c.Conn); return err == nil }
		for _, a := range c.s.up.list(allowed) {
			dialer := net.Dialer{Timeout: nextTime}
			up, err := dialer.DialContext(c.ctx, "tcp", c.s.upstreamAt(a))
			if err == nil {
				c.upstream = up
				c.wg.Go(func() { c.back(up) })
				break
			}
		}
	}
	if c.upstream == nil {
		reply := failed(b)
		if reply != nil {
			_, _ = (&dns.Conn{Conn: c}).Write(reply)
		}
		return reply != nil
	}
	_ = c.upstream.SetWriteDeadline(time.Now().Add(idleTime))
	_, err := (&dns.Conn{Conn: c.upstream}).Write(b)
	return err == nil
}

// back passes answers on until the nameserver closes the connection. After that the
// stub reads no more questions of the client.
func (c *client) back(up net.Conn) {
	defer up.Close()
	defer context.AfterFunc(c.ctx, func() { _ = up.Close() })()
	from, to := &dns.Conn{Conn: up}, &dns.Conn{Conn: c}
	for {
		_ = up.SetReadDeadline(time.Now().Add(forwardTime))
		b, err := from.ReadMsgHeader(nil)
		if err != nil {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			return
		}
		_, _ = to.Write(b)
	}
}
