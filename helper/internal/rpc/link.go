package rpc

import (
	"io"
	"net"
	"sync"
)

// Link carries a session's frames over the pipe of a Conn. It is what the
// carrier calls a link.
type Link struct {
	pipe   Pipe
	kind   string
	frames chan []byte // filled by the conn's read loop
	last   []byte      // what ReadFrame returned
	spare  chan []byte // buffers to use again
	once   sync.Once
	closed chan struct{}
}

// Shape of links over a pipe: frames of 256 KiB carry best over the editor's
// command channel, which is slow by the call, and no worse over stdio.
const (
	linkFrame  = 256 << 10
	linkWindow = 2 << 20
	linkQueue  = 4
)

func newLink(p Pipe, kind string) *Link {
	return &Link{pipe: p, kind: kind, closed: make(chan struct{}),
		frames: make(chan []byte, linkQueue), spare: make(chan []byte, linkQueue+2)}
}

// deliver queues a copy of b. It blocks while the reader is behind, which the
// carrier's window bounds, and never after Close.
func (l *Link) deliver(b []byte) {
	var buf []byte
	select {
	case buf = <-l.spare:
	default:
	}
	select {
	case l.frames <- append(buf[:0], b...):
	case <-l.closed:
	}
}

// ReadFrame returns the next frame, valid until the next call.
func (l *Link) ReadFrame() ([]byte, error) {
	if l.last != nil {
		select {
		case l.spare <- l.last:
		default:
		}
		l.last = nil
	}
	select {
	case l.last = <-l.frames:
		return l.last, nil
	default:
	}
	select {
	case l.last = <-l.frames:
		return l.last, nil
	case <-l.closed:
		return nil, io.ErrUnexpectedEOF
	}
}

// WriteFrame sends one frame.
func (l *Link) WriteFrame(p []byte) error {
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
		return l.pipe.WriteFrame(p)
	}
}

// Close ends the link, not the pipe.
func (l *Link) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.closed }

// Kind names the kind of link that the shim offered.
func (l *Link) Kind() string { return l.kind }

// MaxFrame is the size of the largest frame that carries well.
func (l *Link) MaxFrame() int { return linkFrame }

// Window is how much is worth having in flight.
func (l *Link) Window() int { return linkWindow }
