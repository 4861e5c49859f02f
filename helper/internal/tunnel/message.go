package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// Bounds of the format in spec.md.
const (
	MaxHost   = 253
	MaxReason = 512
	maxField  = 64 // of an origin's strings
	maxData   = netx.MaxChunk

	wireVersion = 1
)

type messageType uint8

// Types of message on a stream. The numbers are on the wire.
const (
	msgRequest messageType = 1
	msgAnswer  messageType = 2
	msgData    messageType = 3
	msgEnd     messageType = 4
	msgReset   messageType = 5
	msgCredit  messageType = 6
	msgStarved messageType = 7 // data, after which the sender has no credit left
	msgRefused messageType = 8 // the target refuses a datagram of a flow that was answered
	msgPort    messageType = 9 // a datagram of another port than the target's: the port, then the bytes
)

// knowsPorts is the flag of a request whose sender knows msgRefused and msgPort.
const knowsPorts = 1

// portSize is the size of the port at the beginning of a msgPort.
const portSize = 2

// network of the control stream's request.
const control Network = 255

const headerSize = netx.Headroom

func header(t messageType, length int) [headerSize]byte {
	return [headerSize]byte{byte(t), byte(length >> 16), byte(length >> 8), byte(length)}
}

func parseHeader(h [headerSize]byte) (messageType, int, error) {
	t, length := messageType(h[0]), int(h[1])<<16|int(h[2])<<8|int(h[3])
	limit := 0
	switch t {
	case msgRequest:
		limit = 1024
	case msgAnswer, msgReset:
		limit = 1 + MaxReason
	case msgData, msgStarved:
		limit = maxData
	case msgPort:
		limit = portSize + netx.MaxDatagram
	case msgEnd, msgRefused:
	case msgCredit:
		limit = 4
	default:
		return 0, 0, fmt.Errorf("unknown message type %d", h[0])
	}
	if length > limit {
		return 0, 0, fmt.Errorf("message of type %d is %d bytes long, at most %d allowed", t, length, limit)
	}
	return t, length, nil
}

var errShort = errors.New("message ends too early")

func appendRequest(b []byte, r Request) ([]byte, error) {
	if len(r.Target.Host) > MaxHost {
		return nil, fmt.Errorf("host name of %d bytes is too long", len(r.Target.Host))
	}
	b = append(b, wireVersion, byte(r.Target.Network))
	b = binary.BigEndian.AppendUint16(b, r.Target.Port)
	b = appendString(b, r.Target.Host, MaxHost)
	b = appendString(b, r.Origin.Source, maxField)
	b = appendString(b, r.Origin.User, maxField)
	b = binary.BigEndian.AppendUint32(b, r.Origin.PID)
	return append(appendString(b, r.Origin.Program, maxField), knowsPorts), nil
}

// parseRequest reads what appendRequest wrote. It ignores bytes after that, so that
// a later version can add fields. An earlier version sends no flags. It escapes control
// characters.
func parseRequest(b []byte) (r Request, flags uint8, err error) {
	p := parser{b: b}
	if v := p.byte(); p.err == nil && v != wireVersion {
		return Request{}, 0, fmt.Errorf("request has version %d, this helper speaks %d", v, wireVersion)
	}
	r.Target.Network = Network(p.byte())
	r.Target.Port = p.uint16()
	r.Target.Host = p.string(MaxHost)
	r.Origin.Source = Clean(p.string(maxField))
	r.Origin.User = Clean(p.string(maxField))
	r.Origin.PID = p.uint32()
	r.Origin.Program = Clean(p.string(maxField))
	if p.err != nil {
		return Request{}, 0, fmt.Errorf("parse request: %w", p.err)
	}
	if len(p.b) > 0 {
		flags = p.byte()
	}
	switch r.Target.Network {
	case TCP, UDP, Lookup, DNS, Echo, control:
		return r, flags, nil
	}
	return Request{}, 0, fmt.Errorf("parse request: unknown %v", r.Target.Network)
}

func appendAnswer(b []byte, code Code, reason string) []byte {
	if len(reason) > MaxReason {
		reason = reason[:MaxReason]
	}
	return append(append(b, byte(code)), reason...)
}

func parseAnswer(b []byte) (Code, string, error) {
	if len(b) == 0 {
		return 0, "", errShort
	}
	return Code(b[0]), Clean(string(b[1:])), nil
}

func appendString(b []byte, s string, limit int) []byte {
	if len(s) > limit {
		s = s[:limit]
	}
	return append(append(b, byte(len(s))), s...)
}

type parser struct {
	b   []byte
	err error
}

func (p *parser) take(n int) []byte {
	if p.err != nil || len(p.b) < n {
		p.err = errShort
		return make([]byte, n)
	}
	v := p.b[:n]
	p.b = p.b[n:]
	return v
}

func (p *parser) byte() byte     { return p.take(1)[0] }
func (p *parser) uint16() uint16 { return binary.BigEndian.Uint16(p.take(2)) }
func (p *parser) uint32() uint32 { return binary.BigEndian.Uint32(p.take(4)) }

func (p *parser) string(limit int) string {
	n := int(p.byte())
	if n > limit {
		p.err = fmt.Errorf("string of %d bytes is too long", n)
		return ""
	}
	return string(p.take(n))
}

// Clean makes s safe for a log, a terminal or a view: it escapes everything that is
// not printable, and characters that change the direction of text.
func Clean(s string) string {
	clean := true
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
