package systemdns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// responder asks mDNSResponder, the resolver of macOS, by the protocol of the system's
// client library (DNSServiceQueryRecord). A request and a reply consist of a header and
// the fields of the call, with all numbers in network byte order.
type responder struct {
	path string // of its Unix socket
}

const (
	ipcVersion    = 1
	ipcHeader     = 28
	queryRequest  = 8
	queryReply    = 68
	maxReply      = 128 << 10 // bytes behind a header
	maxReplies    = 1024      // to one question
	flagMore      = 0x1       // another reply follows at once
	flagAdd       = 0x2       // the record exists; without the flag it has been removed
	flagsOfAsking = 0x1000 |  // also return CNAMEs and negative answers
		0x10000 // end the question if no server answers
)

// Errors of the protocol.
const (
	errNoSuchName   = -65538
	errNoSuchRecord = -65554
	errTimeout      = -65568
)

// errResponder reports that the protocol with mDNSResponder failed. The caller asks in
// another way then.
var errResponder = errors.New("mDNSResponder")

// query returns the answer to q. A negative answer of mDNSResponder does not tell whether
// the name exists. query takes a name for missing if it has no record of any common type.
func (r responder) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	m, err := r.ask(ctx, q)
	if err != nil || m.Rcode != dns.RcodeNameError {
		return m, err
	}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeTXT, dns.TypeMX, dns.TypeSRV} {
		if kind == q.Type {
			continue
		}
		other, err := r.ask(ctx, records.Question{Name: q.Name, Type: kind})
		if err != nil {
			return nil, err
		}
		if other.Rcode == dns.RcodeSuccess {
			m.Rcode = dns.RcodeSuccess
			break
		}
	}
	return m, nil
}

// ask sends one question. The rcode of an answer without records is NXDOMAIN, unless
// mDNSResponder returns another.
func (r responder) ask(ctx context.Context, q records.Question) (*dns.Msg, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", r.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errResponder, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	m, err := converse(c, q)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return m, err
}

func converse(c io.ReadWriter, q records.Question) (*dns.Msg, error) {
	if _, err := c.Write(appendQuestion(nil, q)); err != nil {
		return nil, fmt.Errorf("%w: %w", errResponder, err)
	}
	var status [4]byte // of the request itself
	if _, err := io.ReadFull(c, status[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errResponder, err)
	}
	if code := int32(binary.BigEndian.Uint32(status[:])); code != 0 {
		return nil, fmt.Errorf("%w: refused the question with error %d", errResponder, code)
	}
	all := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	for range maxReplies {
		p, err := readReply(c)
		if err != nil {
			return nil, err
		}
		switch {
		case p.code == errTimeout:
			return nil, context.DeadlineExceeded
		case p.code == errNoSuchName, p.code == errNoSuchRecord:
			if len(all.Answer) == 0 {
				all.Rcode = dns.RcodeNameError
			}
			return tidy(all, q), nil
		case p.code != 0:
			return nil, fmt.Errorf("%w: error %d", errResponder, p.code)
		case p.record != nil && p.flags&flagAdd != 0:
			all.Answer = append(all.Answer, p.record)
		}
		// After a CNAME without more, the records of its target follow.
		if p.flags&flagMore == 0 && p.record != nil && p.record.Header().Rrtype == q.Type {
			return tidy(all, q), nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d replies", errResponder, maxReplies)
}

func appendQuestion(b []byte, q records.Question) []byte {
	name := dns.Fqdn(q.Name)
	body := binary.BigEndian.AppendUint32(nil, flagsOfAsking)
	body = binary.BigEndian.AppendUint32(body, 0) // any interface
	body = append(append(body, name...), 0)
	body = binary.BigEndian.AppendUint16(body, q.Type)
	body = binary.BigEndian.AppendUint16(body, dns.ClassINET)
	for _, v := range []uint32{ipcVersion, uint32(len(body)), 0, queryRequest, 0, 0, 0} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return append(b, body...)
}

// reply is one call of DNSServiceQueryRecord's callback.
type reply struct {
	flags  uint32
	code   int32
	record dns.RR // nil if code is not 0
}

func readReply(r io.Reader) (reply, error) {
	var head [ipcHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return reply{}, fmt.Errorf("%w: %w", errResponder, err)
	}
	version, size, op := binary.BigEndian.Uint32(head[0:]), binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[12:])
	if version != ipcVersion || op != queryReply || size > maxReply {
		return reply{}, fmt.Errorf("%w: unknown protocol: version %d, reply %d of %d bytes", errResponder, version, op, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return reply{}, fmt.Errorf("%w: %w", errResponder, err)
	}
	return parseReply(body)
}

var errShort = fmt.Errorf("%w: a reply is too short", errResponder)

// parseReply reads flags, interface, error, the name as text, type, class, the
// data behind its length, and the TTL. More may follow.
func parseReply(b []byte) (p reply, err error) {
	if len(b) < 12 {
		return p, errShort
	}
	p.flags, p.code = binary.BigEndian.Uint32(b), int32(binary.BigEndian.Uint32(b[8:]))
	if p.code != 0 {
		return p, nil
	}
	name, b, ok := cutZero(b[12:])
	if !ok || len(b) < 6 {
		return p, errShort
	}
	kind, class, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
	if b = b[6:]; len(b) < n+4 {
		return p, errShort
	}
	p.record, err = fromRdata(name, kind, class, binary.BigEndian.Uint32(b[n:]), b[:n])
	if err != nil {
		err = fmt.Errorf("%w: %w", errResponder, err)
	}
	return p, err
}

func cutZero(b []byte) (text string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}
