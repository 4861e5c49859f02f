package rpc

import (
	"net"
	"sync"
)

// Link carries a session's frames over the pipe of a Conn.
type Link struct {
	pipe   Pipe
	kind   string
	frames chan []byte // filled by the conn's read loop
	last   []byte      // what ReadFrame returned
	spare  chan []byte // buffers to use again
	once   sync.Once
	closed chan struct{}
	why    error // set before closed is closed
}

const linkQueue = 4 // frames

func newLink(p Pipe, kind string) *Link {
	return &Link{pipe: p, kind: kind, closed: make(chan struct{}),
		frames: make(chan []byte, linkQueue), spare: make(chan []byte, linkQueue+2)}
}

// deliver queues a copy of b. It blocks while the queue is full, but not after
// Close. The carrier's window bounds how long that is.
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
		return nil, l.why
	}
}

// WriteFrame sends one frame.
func (l *Link) WriteFrame(p []byte) error {
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
		return l.pipe.WriteFrame(p, l.closed)
	}
}

// Close ends the link, not the pipe.
func (l *Link) Close() error {
	l.end(net.ErrClosed)
	return nil
}

// end closes the link; why is the reader's error.
func (l *Link) end(why error) {
	l.once.Do(func() {
		l.why = why
		close(l.closed)
	})
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.closed }

// Kind is the kind of link that the driver offered.
func (l *Link) Kind() string { return l.kind }
