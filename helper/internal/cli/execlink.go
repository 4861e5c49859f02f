package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
)

// Times between attempts to get a lost link back.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// execLink is a running command that carries a session's link.
type execLink struct {
	name  string
	conn  *rpc.Conn
	cmd   *exec.Cmd
	guard func() // to be called when the command has ended
	ended chan struct{}
	state error // of the command; set before ended is closed
}

// open runs the command, drives the capture at its other end and takes the link
// into use. Resumed tells the remote that it has the session already.
func (c *connection) open(ctx context.Context, s *session, resumed bool) (*execLink, error) {
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Stderr = c.e.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	for _, end := range []any{in, out} {
		if f, ok := end.(*os.File); ok {
			netx.WidenPipe(f)
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the link: %w", err)
	}
	c.log.Info().Str("link", c.command[0]).Msg("starting")
	l := &execLink{name: c.command[0], cmd: cmd, ended: make(chan struct{})}
	l.guard = func() {}
	if f, ok := out.(*os.File); ok {
		l.guard = guard(f)
	}
	pipe := rpc.NewStdio(out, in)
	if err = l.join(ctx, c, s, pipe, resumed); err == nil {
		go l.wait()
		return l, nil
	}
	_ = pipe.Close()
	go l.wait()
	if status := l.close(false); status != nil {
		err = fmt.Errorf("%w (%w)", err, status)
	}
	return nil, err
}

func (l *execLink) wait() {
	if l.conn != nil {
		<-l.conn.Done()
		l.conn.Wait()
	}
	err := l.cmd.Wait()
	l.guard()
	if err != nil {
		l.state = fmt.Errorf("%s ended with %w", l.name, err)
	}
	close(l.ended)
}

func (l *execLink) join(ctx context.Context, c *connection, s *session, p rpc.Pipe, resumed bool) error {
	starting, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("the remote's helper did not answer"))
	defer cancel()
	conn, info, err := rpc.DialCapture(starting, p, rpc.ClientInfo{Name: "causeway-connect", Version: version}, rpc.CaptureEvents{})
	if err != nil {
		return fmt.Errorf("start the remote's helper: %w", err)
	}
	l.conn = conn
	c.log.Info().Str("version", info.Version).Str("os", info.OS).Str("arch", info.Arch).Msg("remote helper")
	err = conn.Call(starting, rpc.MethodSessionOpen, rpc.CaptureOpenParams{
		Session: s.id(), Secret: s.secret(), Resumed: resumed, ResumeSeconds: int(c.resume / time.Second), Sources: c.sources, Bridges: c.bridges,
	}, nil)
	if err != nil {
		return fmt.Errorf("open the session: %w", err)
	}
	link, err := conn.OpenLink(starting, carrier.KindExec)
	if err != nil {
		return fmt.Errorf("open the link: %w", err)
	}
	return s.carrier.Attach(starting, pipeLink{link})
}

// close ends the link and waits for its command, which it returns the failure
// of. If last, the remote is told that the session is over.
func (l *execLink) close(last bool) error {
	if l.conn != nil {
		if last {
			// The remote tells when it is clean, or is cut off.
			closing, cancel := context.WithTimeout(context.Background(), cleanUpTime)
			_ = l.conn.Call(closing, rpc.MethodSessionClose, nil, nil)
			cancel()
		}
		_ = l.conn.Close()
	}
	select {
	case <-l.ended:
	case <-time.After(cleanUpTime):
		_ = l.cmd.Process.Kill()
		<-l.ended
	}
	return l.state
}

// abandon ends a link that is of no use any more, whose command may hang.
func (l *execLink) abandon() error {
	_ = l.conn.Close()
	select {
	case <-l.ended:
	case <-time.After(100 * time.Millisecond):
		_ = l.cmd.Process.Kill()
		<-l.ended
	}
	return l.state
}
