package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// tellingOf returns the error that says more about the target. A missing route for one
// address family says least.
func tellingOf(a, b *tunnel.Error) *tunnel.Error {
	rank := func(e *tunnel.Error) int {
		switch {
		case e == nil:
			return 0
		case e.Code == tunnel.Refused || e.Code == tunnel.Reset:
			return 5
		case e.Code == tunnel.TimedOut:
			return 4
		case e.Code == tunnel.HostUnreachable:
			return 3
		case e.Code == tunnel.NetUnreachable:
			return 2
		}
		return 1
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// Error turns the error of a dial into the answer to a flow.
func Error(err error) *tunnel.Error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		code := codeOfErrno(errno)
		reason := errno.Error()
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
			reason = fmt.Sprintf("%s: %s", op.Addr, reason)
		}
		return &tunnel.Error{Code: code, Reason: reason}
	}
	if isTimeout(err) {
		return &tunnel.Error{Code: tunnel.TimedOut, Reason: "no answer in time"}
	}
	if errors.Is(err, context.Canceled) {
		return &tunnel.Error{Code: tunnel.Failed, Reason: "no longer wanted"}
	}
	return &tunnel.Error{Code: tunnel.Failed, Reason: err.Error()}
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
