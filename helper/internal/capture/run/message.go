//go:build linux && (amd64 || arm64)

package run

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of struct msghdr and struct mmsghdr on 64-bit Linux.
const (
	messageSize  = 56
	messagesSize = 64 // a message, and the length that was sent or received
	offNameSize  = 8
	offControl   = 40 // the size of it
	offFlags     = 48
	offLength    = 56
	maxVectors   = 1024
	maxMessages  = 1024
	maxPayload   = 64 << 10
	maxControl   = 4 << 10
)

// message is a program's struct msghdr.
type message struct {
	at          uint64 // in the program's memory
	name        uint64
	nameSize    int
	vectors     []unix.RemoteIovec
	size        int // of what the vectors have room for, at most maxPayload
	control     uint64
	controlSize int
}

// plain is the message of a call that has one buffer.
func plain(buffer, size, name uint64, nameSize int) message {
	size = min(size, maxPayload)
	return message{name: name, nameSize: nameSize, size: int(size),
		vectors: []unix.RemoteIovec{{Base: uintptr(buffer), Len: int(size)}}}
}

func (t thread) message(at uint64) (message, error) {
	var b [messageSize]byte
	if err := t.read(at, b[:]); err != nil {
		return message{}, err
	}
	u := func(off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }
	m := message{at: at, name: u(0), nameSize: int(int32(binary.NativeEndian.Uint32(b[offNameSize:]))), control: u(32)}
	m.controlSize = int(min(u(offControl), maxControl))
	count := u(24)
	if count > maxVectors {
		return message{}, unix.EMSGSIZE
	}
	raw := make([]byte, 16*count)
	if err := t.read(u(16), raw); err != nil {
		return message{}, err
	}
	for ; len(raw) > 0; raw = raw[16:] {
		n := int(min(binary.NativeEndian.Uint64(raw[8:]), uint64(maxPayload-m.size)))
		if n == 0 {
			continue
		}
		m.size += n
		m.vectors = append(m.vectors, unix.RemoteIovec{Base: uintptr(binary.NativeEndian.Uint64(raw)), Len: n})
	}
	return m, nil
}

// gather reads the payload of a message.
func (t thread) gather(m message) ([]byte, error) {
	b := make([]byte, m.size)
	return b, t.move(false, b, m.vectors)
}

// scatter writes b into the buffers of a message, which must be large enough.
func (t thread) scatter(m message, b []byte) error { return t.move(true, b, m.vectors) }

// controls tells whether the supervisor sends a control message along with a
// program's message. It may change the data.
type controls func(h unix.Cmsghdr, data []byte) bool

func everything(unix.Cmsghdr, []byte) bool { return true }

// onlySegments admits UDP_SEGMENT, which splits a payload into datagrams: the only
// control message that has the same meaning on loopback.
func onlySegments(h unix.Cmsghdr, _ []byte) bool {
	return h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT
}

// harmless admits control messages that do not change where a datagram goes. A
// device in IP_PKTINFO would override the device to which the socket is bound.
func harmless(h unix.Cmsghdr, data []byte) bool {
	switch [2]int32{h.Level, h.Type} {
	case [2]int32{unix.IPPROTO_IP, unix.IP_PKTINFO}:
		clear(data[:min(len(data), 4)])
	case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		clear(data[min(len(data), 16):])
	case [2]int32{unix.IPPROTO_UDP, unix.UDP_SEGMENT}, [2]int32{unix.IPPROTO_IP, unix.IP_TOS}, [2]int32{unix.IPPROTO_IP, unix.IP_TTL},
		[2]int32{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}, [2]int32{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
	default:
		return false
	}
	return true
}

// control reads the control messages of m that keep admits.
func (t thread) control(m message, keep controls) (out []byte, err error) {
	if m.control == 0 || m.controlSize == 0 {
		return nil, nil
	}
	b := make([]byte, m.controlSize)
	if err := t.read(m.control, b); err != nil {
		return nil, err
	}
	parts, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if !keep(p.Header, p.Data) {
			continue
		}
		one := make([]byte, unix.CmsgSpace(len(p.Data)))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&one[0]))
		h.Level, h.Type = p.Header.Level, p.Header.Type
		h.SetLen(unix.CmsgLen(len(p.Data)))
		copy(one[unix.CmsgLen(0):], p.Data)
		out = append(out, one...)
	}
	return out, nil
}
