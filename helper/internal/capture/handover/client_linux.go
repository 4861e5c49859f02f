package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// askTime bounds what a capture takes to tell whether it covers a target.
const askTime = 5 * time.Second

// Client asks the captures of this user.
type Client struct {
	Dir string // where they listen
}

// Offer is a target that a capture covers. Close ends it unless Hand has passed
// a descriptor to it.
type Offer struct{ c *net.UnixConn }

// Probe returns nil if a capture listens, else ErrNoCapture.
func (k *Client) Probe(ctx context.Context) error {
	for _, path := range k.paths() {
		if c, err := dial(ctx, path); err == nil {
			_ = c.Close()
			return nil
		}
	}
	return ErrNoCapture
}

// Ask returns the offer of the first capture that covers the target, nil if
// none does, and ErrNoCapture if none runs.
func (k *Client) Ask(ctx context.Context, r Request) (*Offer, error) {
	err := ErrNoCapture
	for _, path := range k.paths() {
		o, failed := ask(ctx, path, r)
		if o != nil {
			return o, nil
		}
		if failed == nil {
			err = nil
		}
	}
	return nil, err
}

func (k *Client) paths() []string {
	entries, _ := os.ReadDir(k.Dir)
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(k.Dir, e.Name()))
		}
	}
	return paths
}

// dial connects to the capture at path. A socket that nobody listens at is the
// remains of a capture that was killed, and removed.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
		}
		return nil, err
	}
	u := c.(*net.UnixConn)
	uid, err := peerUID(u)
	if err == nil && uid != 0 && uid != os.Geteuid() {
		err = fmt.Errorf("%s is served by user %d", path, uid)
	}
	if err != nil {
		_ = u.Close()
		return nil, err
	}
	return u, nil
}

func ask(ctx context.Context, path string, r Request) (*Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	var verdict [1]byte
	if _, err = c.Write(appendRequest(nil, r)); err == nil {
		_, err = c.Read(verdict[:])
	}
	if err != nil || verdict[0] != covered {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return &Offer{c}, nil
}

// Wait returns nil once the gateway has connected, or a *tunnel.Error that says
// why it has not; any other error means that the capture, or ctx, has ended.
func (o *Offer) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.c.Close() })
	defer stop()
	buf := make([]byte, maxMessage)
	n, err := o.c.Read(buf)
	if err != nil {
		return fmt.Errorf("wait for the capture: %w", err)
	}
	return parseAnswer(buf[:n])
}

// Hand passes the descriptor fd, which stays the caller's to close: a connected
// TCP socket, or a UDP socket connected to the program's.
func (o *Offer) Hand(fd int) error {
	if _, _, err := o.c.WriteMsgUnix([]byte{1}, unix.UnixRights(fd), nil); err != nil {
		return fmt.Errorf("hand over to the capture: %w", err)
	}
	return nil
}

// Ended blocks until the flow has ended, and closes the offer.
func (o *Offer) Ended() {
	_, _ = io.Copy(io.Discard, o.c)
	_ = o.c.Close()
}

// Close withdraws what was asked for.
func (o *Offer) Close() error { return o.c.Close() }
