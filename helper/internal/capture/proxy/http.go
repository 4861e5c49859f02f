package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	// idleTime is how long a client may be silent between requests, and how long a
	// request may go on that was answered already.
	idleTime = 2 * time.Minute
	// lingerTime is how long a client may take to read the last answer.
	lingerTime = time.Second
	// httpBuffer is the size of a buffer for reading.
	httpBuffer = 16 << 10
)

// visitor is a client that speaks HTTP. It has a connection to one server at a time,
// which lives as long as the client's connection: so messages can pass as they are,
// with what they say about the connection.
type visitor struct {
	p      *Proxy
	c      *net.TCPConn
	who    owner.Owner
	in     *bufio.Reader
	out    *bufio.Writer
	server *server // the last one; nil before the first
}

type server struct {
	at          string // tells it from other servers
	proxy       bool   // of the environment; it gets whole URLs
	credentials string // a line for it, or ""
	c           net.Conn
	in          *bufio.Reader
	out         *bufio.Writer
	unwatch     func() bool
}

// flushing sends what is written to the other side before it waits for more.
type flushing struct {
	io.Reader
	to func() *bufio.Writer // returns nil if there is no other side
}

func (f flushing) Read(b []byte) (int, error) {
	if w := f.to(); w != nil && w.Buffered() > 0 {
		_ = w.Flush() // w keeps the error
	}
	return f.Reader.Read(b)
}

// serveHTTP serves a client whose first byte was read already, and closes c.
func (p *Proxy) serveHTTP(c *net.TCPConn, first []byte, who owner.Owner) {
	v := &visitor{p: p, c: c, who: who, out: bufio.NewWriter(c)}
	v.in = bufio.NewReaderSize(flushing{io.MultiReader(bytes.NewReader(first), c), func() *bufio.Writer {
		if v.server == nil {
			return nil
		}
		return v.server.out
	}}, httpBuffer)
	for v.speaks() && v.serveOne() {
	}
	v.leave()
	if v.out != nil {
		_ = v.out.Flush()
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, c) // with data unread, the kernel would discard the answer
	}
	_ = c.Close()
}

// speaks waits for a request. It returns false if the client has no more, or if the
// server has ended the connection meanwhile.
func (v *visitor) speaks() bool {
	_ = v.c.SetReadDeadline(time.Now().Add(idleTime))
	if v.in.Buffered() > 0 || v.server == nil {
		_, err := v.in.Peek(1)
		return err == nil
	}
	quiet, s := make(chan bool), v.server
	go func() {
		_, err := s.in.Peek(1)
		t, ok := errors.AsType[net.Error](err)
		if ok = ok && t.Timeout(); !ok {
			_ = v.c.SetReadDeadline(time.Unix(1, 0))
		}
		quiet <- ok
	}()
	_, err := v.in.Peek(1)
	_ = s.c.SetReadDeadline(time.Unix(1, 0))
	if <-quiet {
		_ = s.c.SetReadDeadline(time.Time{})
	} else {
		v.leave() // if there is a request already, it gets a new connection
	}
	return err == nil
}

// leave ends the connection to the server, as a client does: in order.
func (v *visitor) leave() {
	s := v.server
	if v.server = nil; s == nil {
		return
	}
	if half, ok := s.c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	v.p.wg.Go(func() {
		_ = s.c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, s.c) // without the server's end, Close may reset
		s.unwatch()
		_ = s.c.Close()
	})
}

// serveOne serves one request. It tells whether more may follow.
func (v *visitor) serveOne() (again bool) {
	_ = v.c.SetReadDeadline(time.Now().Add(handshakeTime))
	lines, err := readHead(v.in, true)
	_ = v.c.SetReadDeadline(time.Time{})
	var q *request
	if err == nil {
		q, err = parseRequest(lines)
	}
	if b, ok := errors.AsType[*messageError](err); ok {
		v.answer("", b.status, b.reason)
	}
	switch {
	case err != nil:
		return false
	case q.method == http.MethodConnect:
		v.connect(q)
		return false
	}
	return v.pass(q)
}

// pass passes a request on, and the responses to it. It tells whether both sides go on.
func (v *visitor) pass(q *request) (again bool) {
	reused, err := v.reach(q)
	if err != nil {
		v.refuse(q, err)
		return false
	}
	s := v.server
	target := q.path
	if s.proxy {
		target = q.target
	}
	_, _ = s.out.WriteString(q.method + " " + target + " " + q.version + "\r\n" + s.credentials + strings.Join(q.fields, "") + "\r\n")
	var complete atomic.Bool
	answered, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		err := copyBody(s.out, v.in, q.body, true)
		if failed := s.out.Flush(); failed != nil {
			err = failed // the server may have answered nevertheless
		} else if err != nil {
			netx.ResetConn(s.c, "the client's request is not complete")
		} else {
			complete.Store(true)
			stop := v.watch(func() { netx.ResetConn(s.c, "the client is gone") })
			<-answered
			stop()
		}
		sent <- err
	}()
	p, err := v.respond(q, reused)
	close(answered)
	again = err == nil && q.keep && p.keep
	wait := lingerTime
	switch {
	case complete.Load(), again && !q.expects, again && p.asked:
		wait = idleTime // a server may answer before it has read all
	case again || err != nil:
		wait = 0 // the client may keep its body to itself
	}
	unsent := v.settle(s, sent, wait)
	switch b, wrong := errors.AsType[*messageError](unsent); {
	case errors.Is(err, errStale): // the client knows best whether to ask again
	case p == nil && wrong:
		v.answer(q.method, b.status, b.reason)
	case p == nil:
		v.refuse(q, err)
	case err != nil:
		netx.ResetConn(v.c, err.Error()) // part of a response must not look complete
	case p.status == http.StatusSwitchingProtocols && unsent == nil:
		v.relay(s.c, s.in, q)
		return false
	}
	return again && unsent == nil
}

// settle returns the outcome of the request's body. After wait it ends the attempt.
func (v *visitor) settle(s *server, sent <-chan error, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case err := <-sent:
		return err
	case <-t.C:
	}
	_ = v.c.SetReadDeadline(time.Unix(1, 0))
	_ = s.c.SetWriteDeadline(time.Unix(1, 0))
	err := <-sent
	_ = v.c.SetReadDeadline(time.Time{})
	return cmp.Or(err, errUnsent)
}

var (
	errStale  = errors.New("the server had ended the connection")
	errUnsent = errors.New("the request was not complete")
)

// respond passes the responses on, up to the final one. If it returns none, the client
// has got none.
func (v *visitor) respond(q *request, reused bool) (*response, error) {
	s, asked := v.server, false
	for {
		if _, err := s.in.Peek(1); err != nil && reused && !asked {
			return nil, errStale
		}
		lines, err := readHead(s.in, false)
		if err != nil {
			return nil, answerError(err)
		}
		p, err := parseResponse(lines, q.method)
		if err == nil && p.status == http.StatusSwitchingProtocols && !q.upgrade {
			err = errors.New("it switches to a protocol that nobody asked for")
		}
		if err != nil {
			return nil, answerError(err)
		}
		p.asked = asked
		_, _ = v.out.WriteString(strings.Join(lines, "") + "\r\n")
		switch {
		case p.status == http.StatusSwitchingProtocols:
			return p, nil
		case p.status < 200:
			asked = asked || p.status == http.StatusContinue
			continue
		}
		err = copyBody(v.out, s.in, p.body, false)
		return p, cmp.Or(err, v.out.Flush())
	}
}

// answerError keeps errors of connections.
func answerError(err error) error { return fmt.Errorf("read the server's answer: %w", err) }

// reach makes v.server the one that a request goes to. Each request is judged anew.
func (v *visitor) reach(q *request) (reused bool, err error) {
	d := &v.p.out
	address := net.JoinHostPort(strings.ToLower(q.host), strconv.Itoa(int(q.port)))
	s := &server{at: "resource " + address}
	host, resource := d.match("tcp", q.host, q.port)
	var via *url.URL
	if !resource {
		if d.strict() {
			return false, errStrict
		}
		if via, err = d.upstream(&url.URL{Scheme: "http", Host: address}); err != nil {
			return false, directError(err)
		}
		if s.at = "direct " + address; via != nil && strings.HasPrefix(via.Scheme, "http") {
			s.at, s.proxy = "proxy "+via.String(), true
			s.credentials = d.httpProxy(via).Authorization()
		}
	}
	if v.server != nil && v.server.at == s.at {
		return true, nil
	}
	v.leave()
	ctx, cancel := context.WithCancel(v.p.ctx)
	defer cancel()
	defer v.watch(cancel)()
	switch {
	case resource:
		s.c, err = d.open(ctx, "http", host, q.port, v.who)
	case s.proxy:
		s.c, err = d.toProxy(ctx, via)
	default:
		s.c, err = d.through(ctx, via, address)
	}
	if err != nil && !resource {
		err = directError(err)
	}
	if err != nil {
		return false, err
	}
	s.in = bufio.NewReaderSize(flushing{s.c, func() *bufio.Writer { return v.out }}, httpBuffer)
	s.out = bufio.NewWriter(s.c)
	s.unwatch = context.AfterFunc(v.p.ctx, func() { netx.ResetConn(s.c, "closed") })
	v.server = s
	return false, nil
}

// watch calls gone if the client has closed its socket. One that has only said all it
// wanted still waits for the answer.
func (v *visitor) watch(gone func()) (stop func()) {
	return netx.WatchPeer(v.c, func() {
		if _, err := v.p.o.Check(v.c); errors.Is(err, owner.ErrGone) {
			gone()
		}
	})
}

// connect serves CONNECT. It confirms nothing before the target is connected.
func (v *visitor) connect(q *request) {
	v.leave()
	ctx, stop := whileThere(v.p.ctx, v.c)
	target, err := v.p.out.dial(ctx, "http", q.host, q.port, v.who)
	stop()
	if err != nil {
		v.refuse(q, err)
		return
	}
	_, _ = v.out.WriteString("HTTP/1.1 200 Connection established\r\n\r\n")
	v.relay(target, nil, q)
}

// relay joins the client with to, from which from has read ahead, until both have
// ended.
func (v *visitor) relay(to net.Conn, from *bufio.Reader, q *request) {
	if v.server != nil {
		v.server.unwatch()
		v.server = nil
	}
	if from != nil {
		ahead, _ := from.Peek(from.Buffered())
		_, _ = v.out.Write(ahead)
	}
	err := v.out.Flush()
	// The client may have sent data ahead of the reply. This data comes first.
	if ahead, _ := v.in.Peek(v.in.Buffered()); err == nil && len(ahead) > 0 {
		_, err = to.Write(ahead)
	}
	v.in, v.out = nil, nil // a relay may last for days
	if err != nil {
		netx.ResetConn(to, err.Error())
		return
	}
	v.p.o.Gateway.Relay(v.p.ctx, v.c, to, tunnel.Target{Network: tunnel.TCP, Host: tunnel.Clean(q.host), Port: q.port})
}

// refuse answers a request that failed: it tells what failed, for which target, and
// what to do.
func (v *visitor) refuse(q *request, err error) {
	status, advice := http.StatusBadGateway, "Test the resource from the editor's Causeway view."
	switch flow.Code(err) {
	case tunnel.Denied:
		status, advice = http.StatusForbidden, "Add it to causeway.resources and approve it to reach it."
	case tunnel.TimedOut:
		status, advice = http.StatusGatewayTimeout, "Is the VPN on the developer's machine up?"
	case tunnel.Overloaded:
		status, advice = http.StatusServiceUnavailable, "Try again with fewer connections at once."
	}
	target := net.JoinHostPort(tunnel.Clean(q.host), strconv.Itoa(int(q.port)))
	v.answer(q.method, status, fmt.Sprintf("causeway: %s: %v. %s", target, err, advice))
}

// answer writes an answer of the proxy's own, after which the connection ends.
func (v *visitor) answer(method string, status int, text string) {
	_, _ = fmt.Fprintf(v.out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n", status, http.StatusText(status), len(text)+1)
	if method != http.MethodHead {
		_, _ = v.out.WriteString(text + "\n")
	}
}
