package carrier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

const (
	streamFrame = 128 << 10
	smallBuffer = 4 << 10
	// unsent is how many bytes the kernel may hold that it has not sent. Bytes that
	// wait there can go over no other link, and urgent frames cannot pass them.
	unsent = 128 << 10
)

// stream is a direct link: frames over a TCP connection, each behind its length
// in four bytes, big endian.
type stream struct {
	c    net.Conn
	in   []byte // smallBuffer until a larger frame comes, then room for two of the largest
	from int    // in[from:to] was read and is no frame yet
	to   int
	most int // bytes that a frame to read may have
	head [4]byte
	out  [2][]byte
	vec  net.Buffers
}

// NewStream returns the direct link over c. The link becomes the owner of c.
func NewStream(c net.Conn) Link {
	netx.LimitUnsent(c, unsent)
	netx.Unpace(c) // the editor's end of it is on this machine
	return &stream{c: c, in: make([]byte, smallBuffer), most: streamFrame}
}

// limitFrames bounds the frames to read, in bytes; 0 means no bound but the link's own.
func (s *stream) limitFrames(n int) {
	if n == 0 {
		n = streamFrame
	}
	s.most = n
}

func (s *stream) ReadFrame() ([]byte, error) {
	for {
		if have := s.in[s.from:s.to]; len(have) >= 4 {
			length := int64(binary.BigEndian.Uint32(have))
			if length > int64(s.most) {
				return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", length, s.most)
			}
			n := int(length)
			if len(have) >= 4+n {
				s.from += 4 + n
				return have[4 : 4+n], nil
			}
			if 4+n > len(s.in) {
				in := make([]byte, 2*(4+streamFrame))
				s.to = copy(in, have)
				s.in, s.from = in, 0
			}
		}
		if len(s.in)-s.from < 4+streamFrame || s.from == s.to {
			s.to = copy(s.in, s.in[s.from:s.to])
			s.from = 0
		}
		n, err := s.c.Read(s.in[s.to:])
		s.to += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

func (s *stream) WriteFrame(p []byte) error {
	if len(p) > streamFrame {
		return errors.New("frame too long")
	}
	binary.BigEndian.PutUint32(s.head[:], uint32(len(p)))
	s.out = [2][]byte{s.head[:], p}
	s.vec = s.out[:]
	_, err := s.vec.WriteTo(s.c)
	return err
}

func (s *stream) Close() error { return s.c.Close() }

func (s *stream) Kind() string { return KindDirect }

func (s *stream) Shape() Shape {
	return Shape{MaxFrame: streamFrame, Window: DefaultWindow, Slack: time.Millisecond / 2}
}
