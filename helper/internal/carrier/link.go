package carrier

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Link moves frames between the helpers, in order and whole, until it breaks.
// ReadFrame and WriteFrame are called by one goroutine each.
type Link interface {
	// ReadFrame returns the next frame, which is valid until the next call.
	// After the link has broken or Close it returns an error.
	ReadFrame() ([]byte, error)

	// WriteFrame sends one frame of at most MaxFrame bytes. It may block while
	// the link is congested; Close unblocks it. It does not keep p.
	WriteFrame(p []byte) error

	// Close breaks the link. It is idempotent.
	Close() error

	// Kind is one of the kinds below.
	Kind() string

	Shape() Shape
}

// Kinds of link.
const (
	KindCommand = "command" // frames passed between the editor's extension hosts
	KindExec    = "exec"    // stdio of a child
	KindDirect  = "direct"  // TCP through a port that the editor forwards
)

// Shape is what a link carries well.
type Shape struct {
	MaxFrame int           // bytes
	Window   int           // most bytes in flight
	Slack    time.Duration // usual delay of a frame on a link that is not slow
}

// handshakeTimeout bounds the greeting. A container on a busy machine needs seconds
// to start its helper.
const handshakeTimeout = 30 * time.Second

// greetingFrame bounds the frames of the greeting, in bytes, so that a peer without a
// proof gets little memory.
const greetingFrame = 1 << 10

// frameLimiter is a link that can refuse a frame by its length alone.
type frameLimiter interface{ limitFrames(n int) }

// greet exchanges hello and proof over l and returns the peer's hello. It
// closes l if it fails.
func (c *Conn) greet(ctx context.Context, l Link) (peer hello, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errors.New("the other helper did not answer in time"))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = l.Close()
		}
	}()
	if l, ok := l.(frameLimiter); ok {
		l.limitFrames(greetingFrame)
		defer l.limitFrames(0)
	}
	ours := hello{min: versionOldest, max: versionCurrent, role: c.o.Role, session: c.o.Session, instance: c.e.instance}
	if _, err := rand.Read(ours.nonce[:]); err != nil {
		return hello{}, err
	}
	c.mu.Lock()
	ours.received, ours.limit = c.e.received, c.e.limit()
	c.mu.Unlock()
	sent := ours.append(nil)
	if err := l.WriteFrame(sent); err != nil {
		return hello{}, err
	}
	b, err := l.ReadFrame()
	if err != nil {
		return hello{}, err
	}
	got := append([]byte(nil), b...)
	if peer, err = parseHello(got); err != nil {
		return hello{}, closeReason(got, err)
	}
	if err := c.admissible(peer); err != nil {
		_ = l.WriteFrame(appendClose(nil, err.Error()))
		return hello{}, err
	}
	gateway, capture := sent, got
	if c.o.Role == Capture {
		gateway, capture = got, sent
	}
	if err := l.WriteFrame(proof(c.o.Secret, c.o.Role, gateway, capture)); err != nil {
		return hello{}, err
	}
	if b, err = l.ReadFrame(); err != nil {
		return hello{}, err
	}
	if !hmac.Equal(b, proof(c.o.Secret, peer.role, gateway, capture)) {
		err := closeReason(b, errors.New("the other side does not know the session's secret"))
		_ = l.WriteFrame(appendClose(nil, err.Error()))
		return hello{}, err
	}
	return peer, nil
}

// admissible checks everything in a greeting except its proof.
func (c *Conn) admissible(peer hello) error {
	switch {
	case peer.max < versionOldest:
		return fmt.Errorf("the %s speaks link version %d, this %s needs %d or later: update the extension on the %s's side", peer.role, peer.max, c.o.Role, versionOldest, peer.role)
	case peer.min > versionCurrent:
		return fmt.Errorf("the %s needs link version %d, this %s speaks %d: update the extension on the %s's side", peer.role, peer.min, c.o.Role, versionCurrent, c.o.Role)
	case peer.role != c.o.Role.other():
		return fmt.Errorf("both sides of the link are a %s", c.o.Role)
	case peer.session != c.o.Session:
		return errors.New("the link belongs to another session")
	}
	return nil
}

// closeReason prefers the reason in the peer's close frame over err.
func closeReason(b []byte, err error) error {
	if len(b) > 0 && frameType(b[0]) == frameClose {
		return &ClosedError{Reason: clean(b[1:])}
	}
	return err
}
