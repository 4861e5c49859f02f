package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// dialRate bounds what a remote can make the gateway dial in a second; a page
// load or a test suite stays far below it.
const dialRate = 5000

// maxResume is how long a session may wait at most: as long as the editor keeps
// a window alive that has lost its remote.
const maxResume = 3 * time.Hour

// resumeLimit is how long a session waits for its link, or for its shim.
func resumeLimit(seconds int) time.Duration {
	if seconds <= 0 {
		return carrier.DefaultResumeLimit
	}
	return time.Duration(min(int64(seconds), int64(maxResume/time.Second))) * time.Second
}

// session is the gateway's end of a session, from its making to its end.
type session struct {
	log     zerolog.Logger
	options carrier.Options
	carrier *carrier.Conn
}

// newSession makes a session that has yet to get a link; changed is told when
// one comes or goes.
func newSession(log zerolog.Logger, resume time.Duration, changed func()) (*session, error) {
	s := &session{log: log, options: carrier.Options{Role: carrier.Gateway, Log: log, ResumeLimit: resume, Changed: changed}}
	for _, b := range [][]byte{s.options.Session[:], s.options.Secret[:]} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("make a secret: %w", err)
		}
	}
	s.carrier = carrier.New(s.options)
	return s, nil
}

func (s *session) id() string     { return hex.EncodeToString(s.options.Session[:]) }
func (s *session) secret() string { return hex.EncodeToString(s.options.Secret[:]) }

// serve serves the session over whatever links it gets until it ends, or ctx.
// It returns why.
func (s *session) serve(ctx context.Context, gw *gateway.Gateway) error {
	defer func() { _ = s.carrier.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = s.carrier.CloseWithReason(context.Cause(ctx).Error()) })
	defer stop()
	tun, err := tunnel.Server(s.carrier, tunnel.Options{Log: s.log, Carrier: s.carrier})
	if err != nil {
		return err
	}
	defer func() { _ = tun.Close() }()
	err = gw.Serve(ctx, tun)
	switch cause := s.carrier.Err(); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case cause != nil:
		return cause
	}
	return err
}

// pipeLink is a link over the pipe of a conversation.
type pipeLink struct{ *rpc.Link }

// Shape has frames of 256 KiB: they carry best over the editor's command
// channel, which is slow by the call and has hiccups, and no worse over stdio.
// On the former nothing but the window bounds what the editor queues.
func (l pipeLink) Shape() carrier.Shape {
	if l.Kind() == carrier.KindExec {
		return carrier.Shape{MaxFrame: 256 << 10, Window: carrier.DefaultWindow, Slack: 2 * time.Millisecond}
	}
	return carrier.Shape{MaxFrame: 256 << 10, Window: 2 << 20, Slack: 50 * time.Millisecond}
}

// reasonTakenOver is told to a shim whose session has another one now.
const reasonTakenOver = "another window took the session over"

// dismiss tells a shim, by its role's status, that its session has another one now.
// One that does not even take that is hung up on: it may be frozen, and keep what
// else is told to it from getting on.
func dismiss(c *rpc.Conn, status any) {
	if c == nil {
		return
	}
	hangUp := time.AfterFunc(5*time.Second, func() { _ = c.Close() })
	defer hangUp.Stop()
	_ = c.Notify(rpc.NotifyStatus, status)
	_ = c.Notify(rpc.NotifyLinkClosed, rpc.LinkClosed{Reason: reasonTakenOver})
}

// errUserDisconnected ends a session that its user has ended.
var errUserDisconnected = errors.New("the user disconnected")

// gatewayOptions completes o with what every gateway of this program has.
func gatewayOptions(log zerolog.Logger, o gateway.Options) gateway.Options {
	o.Log = log
	o.DialRate = dialRate
	return o
}
