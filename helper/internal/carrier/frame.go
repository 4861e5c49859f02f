package carrier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Versions of the frame format that this package speaks: the current one and
// the one before it, once there is one.
const (
	versionCurrent = 1
	versionOldest  = 1
)

type frameType byte

// Types of frame. The numbers are on the wire.
const (
	frameHello frameType = 1
	frameProof frameType = 2
	frameData  frameType = 3
	frameAck   frameType = 4
	framePing  frameType = 5
	framePong  frameType = 6
	frameClose frameType = 7

	frameDataPush frameType = 8 // data, to be acknowledged at once
)

// Overhead is what a data frame adds to its payload, in bytes.
const Overhead = 1 + 4*8

const maxReason = 512

// SessionID names a session. It is no secret.
type SessionID [16]byte

// Secret is what both helpers of a session know, and prove on every link.
type Secret [32]byte

// hello is the first frame that each side sends on a link.
type hello struct {
	min, max byte // versions
	role     Role
	session  SessionID
	nonce    [32]byte
	instance [8]byte // of the sender's state: another one knows nothing of this session's bytes
	received uint64  // the offset of the next byte wanted
	limit    uint64  // the offset up to which the peer may send
}

const helloSize = 1 + 3 + 16 + 32 + 8 + 8 + 8

func (h hello) append(b []byte) []byte {
	b = append(b, byte(frameHello), h.min, h.max, byte(h.role))
	b = append(b, h.session[:]...)
	b = append(b, h.nonce[:]...)
	b = append(b, h.instance[:]...)
	b = binary.BigEndian.AppendUint64(b, h.received)
	return binary.BigEndian.AppendUint64(b, h.limit)
}

// parseHello reads a hello; a later version may have added fields behind ours.
func parseHello(b []byte) (hello, error) {
	if len(b) < helloSize || frameType(b[0]) != frameHello {
		return hello{}, errors.New("the other side does not greet as a causeway helper does")
	}
	h := hello{min: b[1], max: b[2], role: Role(b[3])}
	copy(h.session[:], b[4:20])
	copy(h.nonce[:], b[20:52])
	copy(h.instance[:], b[52:60])
	h.received = binary.BigEndian.Uint64(b[60:])
	h.limit = binary.BigEndian.Uint64(b[68:])
	return h, nil
}

// proof shows that its sender knows the secret and has seen both greetings, so
// it cannot be replayed on another link nor sent back to its sender.
func proof(secret Secret, sender Role, gateway, capture []byte) []byte {
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte("causeway link proof\x00"))
	m.Write([]byte{byte(sender)})
	m.Write(gateway)
	m.Write(capture)
	return m.Sum([]byte{byte(frameProof)})
}

// ackState is what every data and acknowledgement frame tells of the receiver.
type ackState struct {
	received uint64 // the offset of the next byte wanted
	limit    uint64 // the offset up to which the peer may send
	arrived  uint64 // payload bytes that came over this link
}

func (a ackState) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, a.received)
	b = binary.BigEndian.AppendUint64(b, a.limit)
	return binary.BigEndian.AppendUint64(b, a.arrived)
}

func parseAckState(b []byte) ackState {
	return ackState{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
}

func appendData(b []byte, t frameType, seq uint64, a ackState) []byte {
	return a.append(binary.BigEndian.AppendUint64(append(b, byte(t)), seq))
}

func parseData(b []byte) (seq uint64, a ackState, payload []byte, err error) {
	if len(b) < Overhead {
		return 0, ackState{}, nil, fmt.Errorf("data frame of %d bytes is too short", len(b))
	}
	return binary.BigEndian.Uint64(b[1:]), parseAckState(b[9:]), b[Overhead:], nil
}

func appendAck(b []byte, a ackState) []byte { return a.append(append(b, byte(frameAck))) }

func parseAck(b []byte) (ackState, error) {
	if len(b) != 25 {
		return ackState{}, fmt.Errorf("acknowledgement of %d bytes has the wrong length", len(b))
	}
	return parseAckState(b[1:]), nil
}

func appendPing(b []byte, t frameType, token uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(t)), token)
}

func parsePing(b []byte) (uint64, error) {
	if len(b) != 9 {
		return 0, fmt.Errorf("heartbeat of %d bytes has the wrong length", len(b))
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}

func appendClose(b []byte, reason string) []byte {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return append(append(b, byte(frameClose)), reason...)
}

// clean makes a reason from the other side fit for a log.
func clean(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, string(b[:min(len(b), maxReason)]))
}
