package kernelnet

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// answerTime bounds the wait for an answer. The kernel normally answers within
	// the system call.
	answerTime = time.Second
	// maxMessage is the largest message that the kernel sends, which is part of a
	// dump.
	maxMessage = 32 << 10
	// maxIdle bounds the sockets that wait for the next question.
	maxIdle = 4
)

// service is a family of netlink: sock_diag, or rtnetlink. Each question has a socket
// to itself, so no question waits for the answer to another. The zero value is ready.
type service struct {
	route bool // rtnetlink

	mu   sync.Mutex
	idle []*netlink.Conn
}

// ask sends a message and calls each with the body of every message of the answer,
// except acknowledgements. The body is valid during the call. ask stops at the first
// error of each. An error of the kernel is a syscall.Errno.
func (s *service) ask(m netlink.Message, each func(body []byte) error) error {
	c, err := s.take()
	if err != nil {
		return err
	}
	if err := converse(c, m, each); err != nil {
		// A late answer would be taken for the answer to the next question.
		_ = c.Close()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) < maxIdle {
		s.idle = append(s.idle, c)
		return nil
	}
	return c.Close()
}

// take returns a socket that nobody else uses.
func (s *service) take() (*netlink.Conn, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	family := unix.NETLINK_SOCK_DIAG
	if s.route {
		family = unix.NETLINK_ROUTE
	}
	c, err := netlink.Dial(family, &netlink.Config{MessageBufferSize: maxMessage})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return c, nil
}

// close closes the sockets that wait.
func (s *service) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, c := range s.idle {
		err = errors.Join(err, c.Close())
	}
	s.idle = nil
	return err
}

func converse(c *netlink.Conn, m netlink.Message, each func(body []byte) error) error {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	sent, err := c.Send(m)
	if err != nil {
		return err
	}
	var failed error
	for answer, err := range c.ReceiveIter() {
		if err != nil {
			return err
		}
		if err := netlink.Validate(sent, []netlink.Message{answer}); err != nil {
			return err
		}
		if answer.Header.Flags&netlink.DumpInterrupted != 0 {
			failed = errInterrupted
		}
		if answer.Header.Type == netlink.Error || failed != nil {
			continue
		}
		if err := each(answer.Data); err != nil {
			return err
		}
	}
	return failed
}

// errInterrupted means that the kernel's list changed while it was read, so the
// result can be incomplete.
var errInterrupted = errors.New("the list changed while it was read")

// errno returns the error number in err, 0 if it has none.
func errno(err error) unix.Errno {
	if n, ok := errors.AsType[unix.Errno](err); ok {
		return n
	}
	return 0
}
