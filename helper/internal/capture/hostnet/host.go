package hostnet

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	answerTime = 10 * time.Second
	closeTime  = 5 * time.Second
	maxStderr  = 4 << 10
)

// StartOptions say how to run the privileged subcommand.
type StartOptions struct {
	Self      string   // absolute path of the program that has it
	Args      []string // its arguments; nil means "privileged"
	Env       []string // of the child, nil means ours; sudo drops most of it
	HostsPath string   // only to see who may write it; "" means DefaultPath
	Resolv    string   // as HostsPath, of StartResolver; "" means DefaultResolvPath
}

var errEnded = errors.New("the privileged subcommand ended")

// Host is a running privileged subcommand. It is safe for concurrent use.
type Host struct {
	in      net.Conn
	out     *os.File
	lines   *bufio.Scanner
	process *os.Process

	overruled atomic.Pointer[[]string] // of the last SetHosts

	mu   sync.Mutex // one request at a time
	done chan struct{}
	err  error // valid after done
}

// Start runs the privileged subcommand: as a plain child if this user can write the
// hosts file, else by "sudo -n". It returns when the child has shown that it can
// edit the file. The error says why it cannot.
func Start(ctx context.Context, o StartOptions) (*Host, error) {
	path := cmp.Or(o.HostsPath, DefaultPath)
	t := task{"edit " + path, "not writable", writable(path)}
	return begin(ctx, o, t, func(h *Host) error { return h.SetHosts(ctx, nil) })
}

// StartResolver is Start for resolv.conf. If another program manages the file, the
// error wraps ErrManaged.
func StartResolver(ctx context.Context, o StartOptions) (*Host, error) {
	path := cmp.Or(o.Resolv, DefaultResolvPath)
	if err := CheckResolv(path, "/run"); err != nil {
		return nil, fmt.Errorf("%s is not changed: %w", path, err)
	}
	t := task{"edit " + path, "not writable", writable(path)}
	return begin(ctx, o, t, func(h *Host) error { return h.SetResolver(ctx, netip.Addr{}) })
}

// task describes the subcommand's work.
type task struct {
	what   string // as in "cannot what"
	lacks  string // the right that this user lacks if cause is not nil
	lacked error
}

// begin starts the subcommand for t. try shows that it can do that.
func begin(ctx context.Context, o StartOptions, t task, try func(*Host) error) (*Host, error) {
	if _, err := identity(); err != nil {
		return nil, err
	}
	if o.Args == nil {
		o.Args = []string{"privileged"}
	}
	argv := append([]string{o.Self}, o.Args...)
	why := ""
	if t.lacked != nil {
		var err error
		if argv, err = withSudo(argv, t); err != nil {
			return nil, fmt.Errorf("cannot %s: %w", t.what, err)
		}
		why = t.lacks + ", and sudo -n is refused: "
	}
	h, stderr, err := start(argv, o.Env)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %s%w", t.what, why, err)
	}
	if err := try(h); err != nil {
		_ = h.Close()
		if said := stderr.last(); said != "" {
			err = errors.New(said)
		} else if why != "" && !errors.Is(err, errEnded) {
			why = ""
		}
		return nil, fmt.Errorf("cannot %s: %s%w", t.what, why, err)
	}
	return h, nil
}

func writable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// withSudo returns the command line that runs argv as root, if root's rights are all
// that is missing.
func withSudo(argv []string, t task) ([]string, error) {
	if !errors.Is(t.lacked, os.ErrPermission) || os.Geteuid() == 0 {
		return nil, t.lacked
	}
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return nil, errors.New(t.lacks + ", and there is no sudo")
	}
	return append([]string{sudo, "-n", "--"}, argv...), nil
}

func start(argv, env []string) (*Host, *tail, error) {
	stdin, in, err := controlPair()
	if err != nil {
		return nil, nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, nil, err
	}
	defer stdout.Close()
	stderr := &tail{}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = time.Second // for a stderr that something else holds open
	if err := cmd.Start(); err != nil {
		_, _ = in.Close(), out.Close()
		return nil, nil, err
	}
	h := &Host{in: in, out: out, lines: bufio.NewScanner(out), process: cmd.Process, done: make(chan struct{})}
	h.lines.Buffer(nil, maxRequest)
	go func() {
		h.err = ended(cmd.Wait(), stderr)
		close(h.done)
	}()
	return h, stderr, nil
}

func ended(err error, stderr *tail) error {
	if err == nil {
		err = errors.New("it ended")
	}
	if said := stderr.last(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return fmt.Errorf("privileged subcommand: %w", err)
}

// SetHosts replaces our block in the hosts file by entries. If the subcommand itself
// fails, and not only the entries are refused, Done is closed soon after.
func (h *Host) SetHosts(ctx context.Context, entries []Entry) error {
	err := h.request(ctx, request{Hosts: entries}, func(a answer) error {
		h.overruled.Store(&a.Overruled)
		return nil
	})
	if err != nil {
		return fmt.Errorf("set hosts: %w", err)
	}
	return nil
}

// Overruled returns names of the last SetHosts, at most 64, to which other lines of
// the hosts file give addresses. Our block goes first, so programs do not see these
// lines meanwhile.
func (h *Host) Overruled() []string {
	if names := h.overruled.Load(); names != nil {
		return *names
	}
	return nil
}

// SetResolver makes the stub resolver at port 53 of addr the nameserver of this
// host. addr has to be in 127.0.0.0/8; the zero Addr removes the stub resolver.
func (h *Host) SetResolver(ctx context.Context, addr netip.Addr) error {
	if err := h.request(ctx, request{Resolver: &addr}, nil); err != nil {
		return fmt.Errorf("set resolver: %w", err)
	}
	return nil
}

// Behind returns h for ports that only a bridge reaches: those of the names'
// addresses, and of this host's own address there.
func (h *Host) Behind(device string) *Behind { return &Behind{h, device} }

// Behind opens ports on a bridge.
type Behind struct {
	*Host
	device string
}

// ListenTCP opens a port below 1024 with the subcommand's rights. The caller owns
// the socket.
func (b *Behind) ListenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	return b.listenTCP(ctx, endpoint{At: at, Device: b.device})
}

// ListenUDP is ListenTCP for UDP.
func (b *Behind) ListenUDP(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	return b.listenUDP(ctx, endpoint{At: at, UDP: true, Device: b.device})
}

// ListenTCP opens a port below 1024 of 127.0.0.1, of ::1 or of an address in 127.0.0.0/8
// outside 127.0.0.0/16, with the subcommand's rights. The caller owns the socket.
func (h *Host) ListenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	return h.listenTCP(ctx, endpoint{At: at})
}

func (h *Host) listenTCP(ctx context.Context, e endpoint) (ln net.Listener, err error) {
	err = h.listen(ctx, e, func(f *os.File) error {
		ln, err = net.FileListener(f)
		return err
	})
	return ln, err
}

// ListenUDP is ListenTCP for UDP.
func (h *Host) ListenUDP(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	return h.listenUDP(ctx, endpoint{At: at, UDP: true})
}

func (h *Host) listenUDP(ctx context.Context, e endpoint) (pc net.PacketConn, err error) {
	err = h.listen(ctx, e, func(f *os.File) error {
		pc, err = net.FilePacketConn(f)
		return err
	})
	return pc, err
}

func (h *Host) listen(ctx context.Context, e endpoint, use func(*os.File) error) error {
	err := h.request(ctx, request{Listen: &e}, func(answer) error {
		f, err := takeSocket(h.in)
		if err != nil {
			return err
		}
		defer f.Close()
		return use(f)
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", e.At, err)
	}
	return nil
}

// request sends one request and waits for its answer. It calls then if the answer is
// positive.
func (h *Host) request(ctx context.Context, r request, then func(answer) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(answerTime)
	_, _ = h.in.SetDeadline(deadline), h.out.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _, _ = h.in.SetDeadline(time.Now()), h.out.SetReadDeadline(time.Now()) })
	defer stop()
	var a answer
	if _, err = h.in.Write(append(b, '\n')); err == nil {
		err = h.read(&a)
	}
	if err == nil && a.OK && then != nil {
		err = then(a)
	}
	if err != nil {
		// The answer may still come, and would be taken for the answer to the next
		// request. So this child cannot be used any more.
		_ = h.in.Close()
		return errors.Join(ctx.Err(), err)
	}
	if !a.OK {
		return errors.New(a.Error)
	}
	return nil
}

func (h *Host) read(a *answer) error {
	if !h.lines.Scan() {
		if err := h.lines.Err(); err != nil {
			return err
		}
		return errEnded
	}
	return json.Unmarshal(h.lines.Bytes(), a)
}

// Done is closed when the subcommand has ended, by Close or by itself.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err tells why the subcommand ended; nil before that.
func (h *Host) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Close makes the subcommand undo its changes and waits until it ends, for at most
// 10 s.
func (h *Host) Close() error {
	_ = h.in.Close()
	defer h.out.Close()
	select {
	case <-h.done:
		return nil
	case <-time.After(closeTime):
	}
	_ = h.process.Signal(syscall.SIGTERM)
	select {
	case <-h.done:
		return nil
	case <-time.After(closeTime):
		return errors.New("close: the privileged subcommand does not end; it may leave its changes behind")
	}
}

// tail keeps the first bytes of a child's stderr.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p[:min(len(p), maxStderr-t.buf.Len())])
	return len(p), nil
}

// last returns the last line. If sudo refuses, it returns the first line of sudo, since
// further ones give advice.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(t.buf.String()), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "sudo: ") }); i >= 0 {
		return lines[i]
	}
	return lines[len(lines)-1]
}
