package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxAttempts bounds the connections that wait for an answer. Where there are
	// more, the program's SYN is repeated, as on a network that loses packets.
	maxAttempts = 1024
	// completeTime bounds a handshake on loopback.
	completeTime = 5 * time.Second
)

// ErrClosed is returned by operations on a Watcher or Port that is closed.
var ErrClosed = net.ErrClosed

// Watcher sees the SYNs to the ports that it holds. It is safe for concurrent use.
type Watcher struct {
	refuse func(Refusal) error
	ctx    context.Context // alive until Close
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	files   map[*os.File]bool // that are read
	ports   map[netip.AddrPort]*Port
	waiting map[key]bool
}

// key is one connection, seen from the program that asks for it.
type key struct{ client, server netip.AddrPort }

// NewWatcher returns a Watcher that sees nothing before Watch. refuse refuses a
// SYN, as a Refuser does; it may take its time.
func NewWatcher(refuse func(Refusal) error) *Watcher {
	w := &Watcher{refuse: refuse, files: make(map[*os.File]bool), ports: make(map[netip.AddrPort]*Port), waiting: make(map[key]bool)}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// Watch reads SYNs from file, of OpenWatch or OpenRelay, until its other end is
// closed. The Watcher becomes the owner of file.
func (w *Watcher) Watch(file *os.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports == nil {
		_ = file.Close()
		return
	}
	w.files[file] = true
	w.wg.Go(func() { w.read(file) })
}

// Close releases every port, ends every attempt and waits for them. Connections
// that are established stay.
func (w *Watcher) Close() error {
	w.stop()
	w.mu.Lock()
	ports, files := w.ports, w.files
	w.ports, w.files = nil, nil
	w.mu.Unlock()
	for f := range files {
		_ = f.Close()
	}
	for _, p := range ports {
		p.release()
	}
	w.wg.Wait()
	return nil
}

func (w *Watcher) read(file *os.File) {
	defer func() {
		_ = file.Close()
		w.mu.Lock()
		delete(w.files, file)
		w.mu.Unlock()
	}()
	b := make([]byte, snapshot)
	for {
		n, err := file.Read(b)
		if err != nil {
			// ENOBUFS and the like pass; the end of the file does not.
			if errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				return
			}
			select {
			case <-w.ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if syn, err := parseSYN(b[:n]); err == nil {
			w.begin(syn)
		}
	}
}

// begin starts an attempt, unless the port is nobody's or the SYN is a repeated one.
func (w *Watcher) begin(syn Refusal) {
	k := key{syn.Client, syn.Server}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.ports[syn.Server]
	if p == nil || p.fills == syn.Client || w.waiting[k] || len(w.waiting) >= maxAttempts || w.ctx.Err() != nil {
		return
	}
	w.waiting[k] = true
	w.wg.Go(func() {
		a := &Attempt{Client: syn.Client, Server: syn.Server, w: w, syn: syn}
		defer a.end()
		p.serve(a)
	})
}

// Hold takes the port at, of 127.0.0.0/8 but not of 127.0.0.0/16, until the Port
// or the Watcher is closed. serve is called in a goroutine of its own for each
// connection that a program asks for. It has to return once its context ends.
func (w *Watcher) Hold(at netip.AddrPort, serve func(*Attempt)) (*Port, error) {
	if !heldAddr(at.Addr()) || at.Port() == 0 {
		return nil, fmt.Errorf("hold %s: only ports of 127.0.0.0/8 outside 127.0.0.0/16 can be held", at)
	}
	p := &Port{w: w, at: at, serve: serve}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("hold %s: %w", at, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports == nil {
		p.release()
		return nil, fmt.Errorf("hold %s: %w", at, ErrClosed)
	}
	w.ports[at] = p
	return p, nil
}

// Port is a port that is held.
type Port struct {
	w     *Watcher
	at    netip.AddrPort
	serve func(*Attempt)

	once   sync.Once
	ln     int            // listens, with a full queue
	filler int            // the connection in that queue
	fills  netip.AddrPort // the filler's own port
}

// open binds the port. The listener shares it with the sockets that complete
// connections, which are of the same user.
func (p *Port) open() (err error) {
	p.filler = -1
	if p.ln, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	address := &unix.SockaddrInet4{Addr: p.at.Addr().As4(), Port: int(p.at.Port())}
	if err = unix.SetsockoptInt(p.ln, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err = unix.Bind(p.ln, address); err != nil {
		return err
	}
	if err = unix.Listen(p.ln, 0); err != nil { // which has room for one
		return err
	}
	// Not earlier: another listener of this user that shared the port would be bound too.
	if err = sharePort(p.ln); err != nil {
		return err
	}
	if p.filler, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err = unix.Connect(p.filler, address); err != nil {
		return err
	}
	name, err := unix.Getsockname(p.filler)
	if own, ok := name.(*unix.SockaddrInet4); ok {
		p.fills = netip.AddrPortFrom(netip.AddrFrom4(own.Addr), uint16(own.Port))
	}
	return err
}

// Close gives the port back. Attempts and connections go on.
func (p *Port) Close() error {
	p.w.mu.Lock()
	if p.w.ports[p.at] == p {
		delete(p.w.ports, p.at)
	}
	p.w.mu.Unlock()
	p.release()
	return nil
}

func (p *Port) release() {
	p.once.Do(func() {
		_ = unix.Close(p.filler)
		_ = unix.Close(p.ln)
	})
}

func sharePort(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// Attempt is a connection that a program asks for. At most one of its methods is
// called; without any, the program hears nothing and its next SYN is another
// attempt.
type Attempt struct {
	Client, Server netip.AddrPort

	w   *Watcher
	syn Refusal
}

func (a *Attempt) end() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	delete(a.w.waiting, key{a.Client, a.Server})
}

// Context ends when the Watcher is closed.
func (a *Attempt) Context() context.Context { return a.w.ctx }

// Complete establishes the connection and returns the port's end of it, which is
// the caller's. It fails if the program has given up.
func (a *Attempt) Complete() (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeoutCause(a.w.ctx, completeTime, errors.New("the program's socket does not answer"))
	defer cancel()
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(a.Server),
		KeepAlive: -1, // both ends are on this machine
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) { err = sharePort(int(fd)) }), err)
		},
	}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp4", a.Client.String())
	if err != nil {
		return nil, fmt.Errorf("complete the connection of %s: %w", a.Client, err)
	}
	return c.(*net.TCPConn), nil
}

// Refuse has the program's connect fail for that reason.
func (a *Attempt) Refuse(why Reason) error {
	a.syn.Why = why
	return a.w.refuse(a.syn)
}
