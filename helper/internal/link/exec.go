package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

const (
	// startTime bounds how long the remote's helper may take to answer: ssh may ask
	// for a password meanwhile, or a codespace may have to start.
	startTime = 3 * time.Minute
	// closeTime is how long the remote may take to clean up.
	closeTime = 4 * time.Second
)

// Retries returns the back-off between attempts to get a lost link back.
func Retries() netx.Backoff {
	return netx.Backoff{First: 500 * time.Millisecond, Most: 15 * time.Second}
}

// Command is a command whose stdio leads to a capture on the remote.
type Command struct {
	Args   []string // the program and its arguments
	Stderr io.Writer
	Client rpc.ClientInfo // names this program to the capture
	Log    zerolog.Logger
}

// Exec is a running command that carries a session's link.
type Exec struct {
	name  string
	conn  *rpc.Conn
	cmd   *exec.Cmd
	guard func() // releases the guard of stdout
	ended chan struct{}
	state error // the command's failure; set before ended is closed
}

// Start runs the command and drives the capture at its other end: it opens the
// session of open there, and attaches a link to the carrier to.
func (c *Command) Start(ctx context.Context, to *carrier.Conn, open rpc.CaptureOpenParams) (*Exec, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Stderr = c.Stderr
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
	c.Log.Info().Str("link", c.Args[0]).Msg("starting")
	l := &Exec{name: c.Args[0], cmd: cmd, ended: make(chan struct{})}
	l.guard = func() {}
	if f, ok := out.(*os.File); ok {
		l.guard = guard(f)
	}
	from := &preamble{ReadCloser: out, tell: func(text []byte) {
		c.Log.Warn().Str("link", c.Args[0]).Str("text", printed(text)).Msg("the command printed text before the remote's helper spoke")
	}}
	pipe := rpc.NewStdio(from, in)
	if err = l.join(ctx, c, to, pipe, open); err == nil {
		go l.wait()
		return l, nil
	}
	_ = pipe.Close()
	go l.wait()
	if from.echoes() {
		err = errTerminal
	}
	if status := l.Close(false); status != nil {
		err = fmt.Errorf("%w (%w)", err, status)
	}
	return nil, err
}

func (l *Exec) wait() {
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

func (l *Exec) join(ctx context.Context, c *Command, to *carrier.Conn, p rpc.Pipe, open rpc.CaptureOpenParams) error {
	starting, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("the remote's helper did not answer"))
	defer cancel()
	conn, info, err := rpc.DialCapture(starting, p, c.Client, rpc.CaptureEvents{})
	if err != nil {
		return fmt.Errorf("start the remote's helper: %w", err)
	}
	l.conn = conn
	c.Log.Info().Str("version", info.Version).Str("os", info.OS).Str("arch", info.Arch).Msg("remote helper")
	err = conn.Call(starting, rpc.MethodSessionOpen, open, nil)
	if err != nil {
		return fmt.Errorf("open the session: %w", err)
	}
	link, err := conn.OpenLink(starting, carrier.KindExec)
	if err != nil {
		return fmt.Errorf("open the link: %w", err)
	}
	return to.Attach(starting, Pipe(link))
}

// Close ends the link and waits for its command. It returns the failure of the
// command. If last, the remote is told that the session is over.
func (l *Exec) Close(last bool) error {
	if l.conn != nil {
		if last {
			// The remote answers when it has cleaned up. Start waits for that at most closeTime.
			closing, cancel := context.WithTimeout(context.Background(), closeTime)
			_ = l.conn.Call(closing, rpc.MethodSessionClose, nil, nil)
			cancel()
		}
		_ = l.conn.Close()
	}
	select {
	case <-l.ended:
	case <-time.After(closeTime):
		_ = l.cmd.Process.Kill()
		<-l.ended
	}
	return l.state
}

// Abandon ends a link that is no longer of use, and whose command may hang.
func (l *Exec) Abandon() error {
	_ = l.conn.Close()
	select {
	case <-l.ended:
	case <-time.After(100 * time.Millisecond):
		_ = l.cmd.Process.Kill()
		<-l.ended
	}
	return l.state
}
