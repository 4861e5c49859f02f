package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/lockfile"
	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// lookEvery is how often a helper looks whether its socket is still there. A user
// may empty the folder for caches.
const lookEvery = time.Second

// place is the helper's part of its directory: a lock, so that there is one helper,
// and a socket.
type place struct {
	o    Options
	lock *lockfile.Lock
	ln   *net.UnixListener
	sock fs.FileInfo
}

// take makes this process the helper of its directory. It returns ErrRunning if
// another process is.
func (o Options) take() (*place, error) {
	p := &place{o: o}
	for p.lock == nil {
		if err := p.o.complete(); err != nil {
			return nil, err
		}
		lock, err := lockfile.Try(p.o.path(".lock"))
		switch {
		case errors.Is(err, fs.ErrNotExist): // the helper before has just removed the directory
		case errors.Is(err, lockfile.ErrHeld):
			return nil, ErrRunning
		case err != nil:
			return nil, err
		}
		p.lock = lock
	}
	if err := p.listen(); err != nil {
		p.leave()
		return nil, err
	}
	return p, nil
}

// listen makes the socket.
func (p *place) listen() error {
	at := p.o.path(".sock")
	// This process holds the lock, so a helper that was killed left this socket.
	_ = os.Remove(at)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for shims: %w", err)
	}
	ln.SetUnlinkOnClose(false) // the path may have another helper's socket by then
	p.ln = ln
	_ = os.Chmod(at, 0o600)
	p.sock, err = os.Lstat(at)
	return err
}

// isThere reports whether shims still find the socket.
func (p *place) isThere() bool {
	now, err := os.Lstat(p.o.path(".sock"))
	return err == nil && os.SameFile(now, p.sock)
}

// watch closes the listener when shims no longer find the socket, or ctx ends.
func (p *place) watch(ctx context.Context) {
	defer func() { _ = p.ln.Close() }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for p.isThere() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// again takes the place again after something has removed the socket.
func (p *place) again() error {
	if p.lock.IsThere() {
		return p.listen()
	}
	next, err := p.o.take()
	if err != nil {
		return err
	}
	p.lock.Release()
	*p = *next
	return nil
}

// leave gives the place up and removes the helper's files.
func (p *place) leave() {
	if p.sock != nil && p.isThere() {
		_ = os.Remove(p.o.path(".sock"))
	}
	if p.lock.IsThere() {
		_ = os.Remove(p.o.path(".stderr"))
		p.lock.Remove()
	} else {
		p.lock.Release()
	}
	_ = os.Remove(p.o.Dir) // fails while the other role's helper has files there
}

// accept serves the shims that come to ln until it is closed.
func (s *server) accept(ctx context.Context, ln *net.UnixListener) {
	again := netx.Backoff{First: 5 * time.Millisecond, Most: time.Second}
	for {
		c, err := ln.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.o.Log.Warn().Err(err).Msg("cannot accept a shim")
			_ = again.Wait(ctx) // no descriptors left: others may be closed soon
			continue
		}
		again.Reset()
		select {
		case s.slots <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.slots }()
				s.serve(ctx, c)
			})
		default:
			s.o.Log.Warn().Msg("shim refused: too many at once")
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_ = writeLine(c, answer{Error: fmt.Sprintf("it serves %d connections already", maxConns)})
			_ = c.Close()
		}
	}
}
