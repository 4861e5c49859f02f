package carrier

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

const (
	streamFrame = 64 << 10
	// unsent is how much the kernel may hold that it has not sent: what waits
	// there can neither overtake nor go over another link.
	unsent = 128 << 10
)

// stream is a direct link: frames over a TCP connection, each behind its length
// in four bytes, big endian.
type stream struct {
	c    net.Conn
	r    *bufio.Reader
	buf  []byte
	head [4]byte
	out  [2][]byte
	vec  net.Buffers
}

// NewStream returns the direct link over c, which becomes the link's.
func NewStream(c net.Conn) Link {
	netx.LimitUnsent(c, unsent)
	return &stream{c: c, r: bufio.NewReaderSize(c, 2*streamFrame), buf: make([]byte, streamFrame)}
}

func (s *stream) ReadFrame() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > streamFrame {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, streamFrame)
	}
	if _, err := io.ReadFull(s.r, s.buf[:n]); err != nil {
		return nil, err
	}
	return s.buf[:n], nil
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
	return Shape{MaxFrame: streamFrame, Window: DefaultWindow, Slack: 2 * time.Millisecond}
}
