package daemon

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

const (
	attachTime = 10 * time.Second
	startEvery = time.Second // while nobody listens
	reapTime   = 500 * time.Millisecond
)

// Shim is this process's connection to the helper in the background. Relay closes
// it.
type Shim struct {
	o      Options
	c      *net.UnixConn
	logs   *net.UnixConn
	helper <-chan struct{} // is closed when the helper that this process started has ended; nil if another process started it
	meant  atomic.Bool     // the driver has ended the session
	// Version and PID are the helper's.
	Version string
	PID     int
}

// Attach connects to the helper. If there is none, Attach starts command as the
// helper, detached from this process. It replaces a helper of another version that
// nobody needs. Level is that of the log lines that this shim gets.
func Attach(ctx context.Context, o Options, level string, command func() *exec.Cmd) (*Shim, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, attachTime, errors.New("it does not answer"))
	defer cancel()
	var started time.Time
	var helper <-chan struct{}
	again := netx.Backoff{First: 5 * time.Millisecond, Most: 200 * time.Millisecond}
	for {
		f, err := o.attach(ctx, level)
		if f != nil {
			f.helper = helper
			return f, nil
		}
		if errors.Is(err, errRefused) {
			return nil, err
		}
		if absent(err) && time.Since(started) > startEvery {
			started = time.Now()
			ended, err := o.start(command())
			if absent(err) && o.complete() == nil {
				continue // a helper that ended has removed the directory
			} else if err != nil {
				return nil, fmt.Errorf("start the helper in the background: %w", err)
			}
			helper = ended
		}
		if late := again.Wait(ctx); late != nil {
			return nil, fmt.Errorf("reach the helper in the background: %w (%w)", late, err)
		}
	}
}

var (
	errRefused = errors.New("the helper in the background refused")
	errOther   = errors.New("a helper of another version is ending")
)

// absent reports whether err means that no helper is running.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNobody) }

// start runs cmd in a process session of its own, without stdin and stdout. Its
// stderr is a file beside the socket, for what the runtime writes when it crashes. The
// channel is closed when cmd has ended.
func (o Options) start(cmd *exec.Cmd) (<-chan struct{}, error) {
	last, err := os.OpenFile(o.path(".stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = last.Close() }()
	if info, err := last.Stat(); err == nil && info.Size() > 1<<20 {
		_ = last.Truncate(0)
	}
	cmd.Dir, cmd.Stderr = os.TempDir(), last
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	return ended, nil
}

func (o Options) attach(ctx context.Context, level string) (*Shim, error) {
	id := rand.Text() // tells the helper that both connections are one shim's
	logs, a, err := o.dial(ctx, greeting{Mode: modeLog, Shim: id, Level: level})
	if err != nil {
		return nil, err
	}
	if a.Version != o.Version && len(a.Sessions) == 0 {
		if retiring, _, err := o.dial(ctx, greeting{Mode: modeRetire}); err == nil {
			_ = logs.Close()
			_ = retiring.Close()
			return nil, errOther
		}
	}
	c, a, err := o.dial(ctx, greeting{Mode: modeServe, Shim: id})
	if err != nil {
		_ = logs.Close()
		return nil, err
	}
	return &Shim{o: o, c: c, logs: logs, Version: a.Version, PID: a.PID}, nil
}

// dial connects and greets the helper. The caller closes the connection.
func (o Options) dial(ctx context.Context, g greeting) (*net.UnixConn, answer, error) {
	var d net.Dialer
	dialled, err := d.DialContext(ctx, "unix", o.path(".sock"))
	if err != nil {
		return nil, answer{}, err
	}
	c := dialled.(*net.UnixConn)
	fail := func(err error) (*net.UnixConn, answer, error) {
		_ = c.Close()
		return nil, answer{}, err
	}
	// Only this user can listen in its own directory. A second check costs nothing.
	if err := checkPeer(c); err != nil {
		return fail(fmt.Errorf("%w: %w", errRefused, err))
	}
	g.Version = o.Version
	_ = c.SetDeadline(time.Now().Add(endTime + greetTime))
	var a answer
	if err := writeLine(c, g); err != nil {
		return fail(err)
	}
	if err := readLine(c, &a, maxAnswer); err != nil {
		return fail(err)
	}
	if a.Error != "" {
		return fail(fmt.Errorf("%w: %s", errRefused, a.Error))
	}
	_ = c.SetDeadline(time.Time{})
	return c, a, nil
}

// exitMessage ends the session, not only the conversation: see rpc.NotifyExit.
const exitMessage = "Content-Length: 33\r\n\r\n" + `{"jsonrpc":"2.0","method":"exit"}`

// relayBuffer is as large as the frames of a link.
const relayBuffer = 256 << 10

// Relay passes bytes between the shim's stdio and the helper until either ends. It
// writes the helper's log to logs, line by line. When stdin ends while somebody
// still reads stdout, the driver has closed it on purpose: Relay then tells the
// helper to end the session. A driver that died reads no more. Relay returns an
// error if the helper ended.
func (f *Shim) Relay(ctx context.Context, stdin, stdout *os.File, logs io.Writer) error {
	defer f.reap()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = f.c.Close(); _ = f.logs.Close() }()
	wg.Go(func() {
		for lines := bufio.NewScanner(f.logs); lines.Scan(); {
			_, _ = logs.Write(append(lines.Bytes(), '\n'))
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = f.c.Close() })
	defer stop()
	left := make(chan struct{})
	// Nobody waits for this goroutine: no call unblocks a read of stdin on every
	// system, and the process ends soon.
	go func() {
		defer close(left)
		_, err := io.CopyBuffer(onlyWriter{f.c}, onlyReader{stdin}, make([]byte, relayBuffer))
		if err == nil && stillRead(stdout) {
			f.meant.Store(true)
			_, _ = io.WriteString(f.c, exitMessage)
			_ = f.c.CloseWrite()
		} else {
			_ = f.c.Close()
		}
	}()
	_, err := io.CopyBuffer(onlyWriter{stdout}, onlyReader{f.c}, make([]byte, relayBuffer))
	if ctx.Err() != nil || err != nil && !errors.Is(err, net.ErrClosed) {
		return nil // ctx ended, or nobody reads stdout any more
	}
	select {
	case <-left:
		return nil
	case <-time.After(100 * time.Millisecond): // stdin and the helper may end at the same time
		return errors.New("the helper in the background has ended")
	}
}

// reap asks a helper that this process has started to end if nobody needs it any
// more, and waits for its end. A helper that ends later is a zombie where the first
// process of a container reaps none.
func (f *Shim) reap() {
	if f.helper == nil || !f.meant.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.o.reap)
	defer cancel()
	again := netx.Backoff{First: 5 * time.Millisecond, Most: 50 * time.Millisecond}
	for {
		c, _, err := f.o.dial(ctx, greeting{Mode: modeRetire})
		if err == nil {
			_ = c.Close()
			break
		}
		if again.Wait(ctx) != nil {
			return // it has other sessions
		}
	}
	select {
	case <-f.helper:
	case <-time.After(endTime):
	}
}

// The wrappers keep io.Copy to the buffer that it is given.
type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }

// Running is a helper in the background.
type Running struct {
	Role     string    `json:"role"`
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Routines int       `json:"goroutines"` // tells of a leak
	Sessions []Session `json:"sessions"`
}

// List asks the helper of a role for its sessions. It returns nil if no helper runs.
func List(ctx context.Context, o Options) (*Running, error) {
	a, err := o.ask(ctx, greeting{Mode: modeList})
	switch {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("ask the %s helper: %w", o.Role, err)
	}
	return &Running{Role: o.Role, PID: a.PID, Version: a.Version, Started: a.Started, Routines: a.Routines, Sessions: a.Sessions}, nil
}

// End ends a session of the helper of a role and returns when it is cleaned up.
func End(ctx context.Context, o Options, id string) error {
	_, err := o.ask(ctx, greeting{Mode: modeEnd, ID: id})
	return err
}

func (o Options) ask(ctx context.Context, g greeting) (answer, error) {
	if err := o.defaults(); err != nil {
		return answer{}, err
	}
	c, a, err := o.dial(ctx, g)
	if err != nil {
		return answer{}, err
	}
	return a, c.Close()
}
