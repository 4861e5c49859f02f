package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// attempt is one try to bring the exit up. Its callers wait for it together. The last
// caller that gives up cancels it.
type attempt struct {
	done     chan struct{} // closed when it has ended
	err      error         // valid then
	cancel   context.CancelFunc
	waiting  int  // callers; guarded by wireGuard.mu
	canceled bool // nobody waits for it any more; guarded by wireGuard.mu
}

// use brings the exit up and keeps it so until release is called, which may be
// called twice. A caller waits no longer than its ctx lasts.
func (w *wireGuard) use(ctx context.Context) (up *running, release func(), err error) {
	for {
		w.mu.Lock()
		switch {
		case w.closed:
			w.mu.Unlock()
			return nil, nil, net.ErrClosed
		case w.up != nil:
			defer w.mu.Unlock()
			w.users++
			return w.up, sync.OnceFunc(w.release), nil
		case time.Now().Before(w.silentUntil):
			defer w.mu.Unlock()
			return nil, nil, w.silent
		}
		a := w.begin()
		w.mu.Unlock()
		if err := w.wait(ctx, a); err != nil {
			return nil, nil, err
		}
	}
}

func (w *wireGuard) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users--
	w.unused = time.Now()
}

// begin joins the attempt under way, or starts one. The caller holds w.mu and calls
// wait.
func (w *wireGuard) begin() *attempt {
	a := w.starting
	if a == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		a = &attempt{done: make(chan struct{}), cancel: cancel}
		w.starting = a
		before := w.endpoints
		w.tasks.Go(func() {
			defer cancel()
			up, endpoints, err := w.start(ctx, before)
			w.ended(a, up, endpoints, err)
		})
	}
	a.waiting++
	return a
}

// wait waits for an attempt. The error is nil if the exit may be up, or if the
// attempt was canceled: then the caller tries again.
func (w *wireGuard) wait(ctx context.Context, a *attempt) error {
	select {
	case <-a.done:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		a.canceled = true
		a.cancel()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if a.canceled && errors.Is(a.err, context.Canceled) {
		return nil
	}
	return a.err
}

// ended publishes the result of an attempt.
func (w *wireGuard) ended(a *attempt, up *running, endpoints map[string]netip.Addr, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starting = nil
	if w.closed {
		if err == nil {
			up.dev.Close()
		}
		err = net.ErrClosed
	}
	switch {
	case err == nil:
		watch, cancel := context.WithCancel(context.Background())
		up.unwatch = cancel
		w.up, w.endpoints, w.unused = up, endpoints, time.Now()
		w.tasks.Go(func() { w.watch(watch) })
	case errors.Is(err, errSilent):
		w.silent, w.silentUntil = err, time.Now().Add(retryPause)
	}
	a.err = err
	close(a.done)
}

// start brings a device up and waits until a peer has answered. before are the
// addresses of the endpoints that were used last.
func (w *wireGuard) start(ctx context.Context, before map[string]netip.Addr) (*running, map[string]netip.Addr, error) {
	up, endpoints, err := w.device(ctx, before)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Canceled) {
			err = ctx.Err()
		}
		if errors.Is(err, context.Canceled) {
			return nil, nil, err
		}
		return nil, nil, &tunnel.Error{Code: tunnel.Failed, Reason: fmt.Sprintf("WireGuard profile %s: %v", w.file, err)}
	}
	if err := await(ctx, up.dev); err != nil {
		up.dev.Close() // the next attempt resolves the endpoints again
		return nil, nil, err
	}
	return up, endpoints, nil
}

// device reads the profile and makes a device of it.
func (w *wireGuard) device(ctx context.Context, before map[string]netip.Addr) (*running, map[string]netip.Addr, error) {
	p, err := readProfile(w.file)
	if err != nil {
		return nil, nil, err
	}
	endpoints, err := w.resolve(ctx, p, before)
	if err != nil {
		return nil, nil, err
	}
	stack, err := newStack(p.addresses, p.mtu)
	if err != nil {
		return nil, nil, err
	}
	if len(p.ignored) > 0 {
		w.log.Warn().Strs("keys", p.ignored).Str("file", w.file).Msg("WireGuard profile: keys ignored, since they have no meaning here")
	}
	if _, beyond := p.nameServers(); len(beyond) > 0 {
		w.log.Warn().Strs("servers", beyond).Str("file", w.file).Msg("WireGuard profile: DNS servers that are not asked")
	}
	dev := device.NewDevice(stack, conn.NewDefaultBind(), &device.Logger{
		Verbosef: func(string, ...any) {},
		Errorf: func(format string, args ...any) {
			w.log.Debug().Str("file", w.file).Msgf("wireguard: "+format, args...)
		},
	})
	if err := errors.Join(dev.IpcSet(uapi(p, endpoints)), dev.Up()); err != nil {
		dev.Close()
		return nil, nil, err
	}
	return &running{dev: dev, stack: stack, profile: p}, endpoints, nil
}

// errSilent is the answer to flows while no peer completes a handshake.
var errSilent = &tunnel.Error{Code: tunnel.TimedOut, Reason: "no WireGuard peer answers the handshake: a wrong key, a wrong endpoint, or a peer that is down"}

// await waits until a peer has completed a handshake. The device begins one by
// itself, since every peer with an endpoint has a keep-alive.
func await(ctx context.Context, dev *device.Device) error {
	limit := time.NewTimer(handshakeLimit)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if peers, err := peerStates(dev); err != nil {
			return err
		} else if !lastHandshake(peers).IsZero() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errSilent
		case <-look.C:
		}
	}
}

// stop takes the device down with all its connections. The caller holds w.mu.
func (w *wireGuard) stop() {
	if w.up != nil {
		w.up.unwatch()
		w.up.dev.Close()
		w.up = nil
	}
}

// Close implements Exit.
func (w *wireGuard) Close() error {
	w.mu.Lock()
	w.closed = true
	w.stop()
	if w.starting != nil {
		w.starting.cancel()
	}
	w.mu.Unlock()
	w.tasks.Wait()
	return nil
}
