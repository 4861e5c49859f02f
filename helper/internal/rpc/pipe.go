package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Bounds on what the other side may send. A message above a bound ends the
// conversation.
const (
	MaxMessage = 8 << 20 // bytes of a JSON message
	MaxFrame   = 1 << 20 // bytes of a link frame

	maxStranger = 64 << 10 // bytes of a message before initialize has succeeded
	keptBuffer  = 1 << 20  // largest buffer that is kept for the next message, in bytes

	maxHeaderLine  = 256
	maxHeaderLines = 8
)

// Pipe carries JSON messages and link frames, each whole and in order. Read is
// called by one goroutine; the writes may overlap.
type Pipe interface {
	// Read returns the next message, which is valid until the next Read.
	Read() (body []byte, isFrame bool, err error)
	WriteMessage(body []byte) error
	// WriteFrame fails when gone is closed: no frame of a link follows the reply to
	// the message that ended the link.
	WriteFrame(body []byte, gone <-chan struct{}) error
	// Close ends both directions and unblocks Read where the system allows it.
	Close() error
	// Raise raises the bounds for the other side: from messages of maxStranger bytes
	// and no frames to messages of MaxMessage bytes and frames of MaxFrame bytes.
	Raise()
	// Local reports whether the other side is a program of this user. A page in a
	// browser must not call every method.
	Local() bool
}

const frameType = "application/octet-stream"

type stdio struct {
	r      *bufio.Reader
	raised atomic.Bool
	in     io.Closer
	buf    []byte
	mu     sync.Mutex
	w      *bufio.Writer
	out    io.Closer
	closed sync.Once
}

// NewStdio returns the pipe of a helper's stdin and stdout: messages of the
// Language Server Protocol's base protocol, frames marked by their Content-Type.
func NewStdio(r io.ReadCloser, w io.WriteCloser) Pipe {
	return &stdio{r: bufio.NewReaderSize(r, 64<<10), in: r, w: bufio.NewWriterSize(w, 4<<10), out: w}
}

func (s *stdio) Raise() { s.raised.Store(true) }

func (s *stdio) Local() bool { return true }

func (s *stdio) Close() error {
	s.closed.Do(func() {
		_ = s.out.Close()
		_ = s.in.Close()
	})
	return nil
}

func (s *stdio) Read() ([]byte, bool, error) {
	length, isFrame, err := readHeader(s.r)
	if err != nil {
		return nil, false, err
	}
	if err := stranger(s.raised.Load(), length, isFrame); err != nil {
		return nil, false, err
	}
	if cap(s.buf) > max(length, keptBuffer) {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	for len(s.buf) < length { // memory grows with the bytes that arrive
		n := min(length-len(s.buf), keptBuffer)
		s.buf = slices.Grow(s.buf, n)
		part := s.buf[len(s.buf) : len(s.buf)+n]
		if _, err := io.ReadFull(s.r, part); err != nil {
			return nil, false, fmt.Errorf("read message: %w", unexpected(err))
		}
		s.buf = s.buf[:len(s.buf)+n]
	}
	return s.buf, isFrame, nil
}

// stranger refuses what the other side must not send before initialize.
func stranger(raised bool, length int, isFrame bool) error {
	switch {
	case raised:
		return nil
	case isFrame:
		return errors.New("a frame came before initialize")
	case length > maxStranger:
		return fmt.Errorf("a message of %d bytes came before initialize, at most %d are allowed", length, maxStranger)
	}
	return nil
}

// readHeader reads the header of one message. io.EOF means an orderly end.
func readHeader(r *bufio.Reader) (length int, isFrame bool, err error) {
	length = -1
	for lines := 0; ; lines++ {
		b, err := r.ReadSlice('\n')
		if err != nil {
			if err == io.EOF && lines == 0 && len(b) == 0 {
				return 0, false, io.EOF
			}
			return 0, false, fmt.Errorf("read header: %w", unexpected(err))
		}
		line := strings.TrimRight(string(b[:min(len(b), maxHeaderLine+2)]), "\r\n")
		if len(b) > maxHeaderLine+2 || lines == maxHeaderLines {
			return 0, false, errors.New("read header: too long")
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok:
			return 0, false, fmt.Errorf("read header: %q is not a header line", line)
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return 0, false, fmt.Errorf("read header: Content-Length %q is not a length", value)
			}
			length = int(n)
		case strings.EqualFold(name, "Content-Type"):
			isFrame = strings.EqualFold(value, frameType)
		}
	}
	limit := MaxMessage
	if isFrame {
		limit = MaxFrame
	}
	switch {
	case length < 0:
		return 0, false, errors.New("read header: there is no Content-Length")
	case length > limit:
		return 0, false, fmt.Errorf("read header: message of %d bytes, at most %d allowed", length, limit)
	}
	return length, isFrame, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *stdio) WriteMessage(body []byte) error { return s.write("", body, nil) }

func (s *stdio) WriteFrame(body []byte, gone <-chan struct{}) error {
	return s.write("Content-Type: "+frameType+"\r\n", body, gone)
}

func (s *stdio) write(more string, body []byte, gone <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-gone:
		return net.ErrClosed
	default:
	}
	_, _ = s.w.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n" + more + "\r\n")
	_, _ = s.w.Write(body)
	return s.w.Flush()
}

type webSocket struct {
	c      *websocket.Conn
	raised atomic.Bool
	ctx    context.Context // alive until Close
	cancel context.CancelFunc
}

// NewWebSocket returns the pipe of an accepted WebSocket, and becomes its owner.
// Text messages are JSON, binary messages are frames.
func NewWebSocket(c *websocket.Conn) Pipe {
	c.SetReadLimit(maxStranger)
	w := &webSocket{c: c}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *webSocket) Raise() {
	w.raised.Store(true)
	w.c.SetReadLimit(MaxMessage)
}

func (w *webSocket) Local() bool { return false }

func (w *webSocket) Close() error {
	_ = w.c.Close(websocket.StatusNormalClosure, "")
	w.cancel()
	return nil
}

func (w *webSocket) Read() ([]byte, bool, error) {
	t, b, err := w.c.Read(w.ctx)
	if err != nil {
		if s := websocket.CloseStatus(err); s == websocket.StatusNormalClosure || s == websocket.StatusGoingAway {
			err = io.EOF
		}
		return nil, false, err
	}
	if err := stranger(w.raised.Load(), len(b), t == websocket.MessageBinary); err != nil {
		return nil, false, err
	}
	if t == websocket.MessageBinary && len(b) > MaxFrame {
		return nil, false, fmt.Errorf("frame of %d bytes, at most %d allowed", len(b), MaxFrame)
	}
	return b, t == websocket.MessageBinary, nil
}

func (w *webSocket) WriteMessage(body []byte) error {
	return w.c.Write(w.ctx, websocket.MessageText, body)
}

// WriteFrame ignores gone: a page has one link on a WebSocket.
func (w *webSocket) WriteFrame(body []byte, _ <-chan struct{}) error {
	return w.c.Write(w.ctx, websocket.MessageBinary, body)
}
