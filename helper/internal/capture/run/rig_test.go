//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestMain runs the tests, or is one of the processes of run, or a probe.
func TestMain(m *testing.M) {
	// The race detector lets a process sleep for a second at its end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	// Go's own signals would interrupt the probes' calls.
	_ = os.Setenv("GODEBUG", "asyncpreemptoff=1")
	if len(os.Args) < 2 {
		goleak.VerifyTestMain(m)
		return
	}
	part := map[string]func(Options) error{SuperviseCommand: Supervise, ExecCommand: Exec,
		"try": func(Options) error { return Try(context.Background()) }, TryCommand: func(Options) error { return Trial() },
		"foreground": func(o Options) error { return Run(context.Background(), o) }, "restricted": restricted}[os.Args[1]]
	switch {
	case part != nil:
		os.Exit(runPart(part))
	case os.Args[1] == "probe":
		os.Exit(runProbe(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

func runPart(part func(Options) error) int {
	var o Options
	f := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	f.BoolVar(&o.Only, "only", false, "")
	f.BoolVar(&o.Keep, "keep", false, "")
	f.StringVar(&o.Dir, "dir", "", "")
	f.StringVar(&o.Path, "path", "", "")
	_ = f.Parse(os.Args[2:])
	o.Argv = f.Args()
	err := part(o)
	if exit, ok := errors.AsType[*ExitError](err); ok {
		fmt.Fprintln(os.Stderr, exit.Reason)
		return exit.Code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return 0
}

// restricted is the foreground process as in a container with an old default profile:
// below a filter that forbids pidfd_getfd and process_vm_readv, and without
// CAP_SYS_PTRACE.
func restricted(o Options) error {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_PTRACE, 0, 0, 0) // root has it
	program := []bpf.Instruction{low0}
	calls, errno := []uint32{unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV}, unix.EPERM
	switch os.Getenv("RUN_TEST_FORBIDDEN") {
	case "filters":
		calls = []uint32{unix.SYS_SECCOMP}
	case "features": // as on Linux 5.5
		calls, errno = []uint32{unix.SYS_PIDFD_GETFD}, unix.ENOSYS
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_SECCOMP, SkipTrue: 4},
			low(1), bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SkipTrue: 1},
			refuseWith(unix.EINVAL), low0)
	}
	for _, forbidden := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: forbidden, SkipTrue: 1}, refuseWith(errno))
	}
	code, err := bpf.Assemble(append(program, allow))
	if err != nil {
		return err
	}
	var filter []unix.SockFilter
	for _, c := range code {
		filter = append(filter, unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K})
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return errno
	}
	return syscall.Exec(self, append([]string{"causeway"}, o.arguments(cmp.Or(os.Getenv("RUN_TEST_PART"), "foreground"))[1:]...), os.Environ())
}

var low0 = bpf.LoadAbsolute{Off: offNumber, Size: 4}

// Targets of the fake private network. What is sent to farHost goes to this
// machine's loopback, the same port.
const (
	farHost     = "10.99.0.1"
	farHost6    = "fd99::1"
	heldHost    = "10.99.0.5" // answered once released
	silentHost  = "10.99.0.6" // times out
	deniedHost  = "10.99.0.7"
	noNetHost   = "10.99.0.8"
	noRouteHost = "10.99.0.9"
	slowHost    = "10.99.0.10" // takes slowTime to be judged
)

const slowTime = 200 * time.Millisecond

var covers = []netip.Prefix{netip.MustParsePrefix("10.99.0.0/16"), netip.MustParsePrefix("fd99::/16")}

// rig is a capture with a gateway that the test answers for, and the servers
// that it leads to.
type rig struct {
	t          *testing.T
	dir        string
	tcp        int // port of an echo server, on 127.0.0.1 and ::1
	udp        int
	closed     int // nobody listens there
	silent     int // nobody answers there
	release    chan struct{}
	open       atomic.Int32 // connections of the TCP server
	restricted bool         // as in a container that forbids pidfd_getfd
	mu         sync.Mutex
	origins    []tunnel.Origin
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	capture, gateway := tunneltest.Pair(t)
	r := &rig{t: t, dir: dir, release: make(chan struct{})}
	check := owner.New(os.Geteuid())
	t.Cleanup(func() { _ = check.Close() })
	s, err := handover.Listen(handover.Options{Gateway: flow.New(flow.Options{Tunnel: capture}), CheckUDP: check.CheckUDP, Path: handover.Path(dir, "0123456789abcdef"),
		Covers: func(_, host string, _ uint16) bool {
			a, err := netip.ParseAddr(host)
			if host == slowHost {
				time.Sleep(slowTime)
			}
			return err == nil && (covers[0].Contains(a) || covers[1].Contains(a))
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		for {
			st, err := gateway.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.answer(ctx, st) })
		}
	})
	t.Cleanup(func() { _ = capture.Close(); _ = gateway.Close() })
	r.serve(&wg)
	return r
}

// serve starts the echo servers.
func (r *rig) serve(wg *sync.WaitGroup) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.tcp = ln.Addr().(*net.TCPAddr).Port
	listeners := []net.Listener{ln}
	if hasIPv6() {
		ln6, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", r.tcp))
		if err != nil {
			r.t.Fatal(err)
		}
		listeners = append(listeners, ln6)
	}
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.closed = gone.Addr().(*net.TCPAddr).Port
	_ = gone.Close()
	for _, ln := range listeners {
		r.t.Cleanup(func() { _ = ln.Close() })
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				r.open.Add(1)
				wg.Go(func() {
					_, _ = io.Copy(c, c)
					_ = c.Close()
					r.open.Add(-1)
				})
			}
		})
	}
	r.serveSilence()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = pc.Close() })
	r.udp = pc.LocalAddr().(*net.UDPAddr).Port
	packets := []net.PacketConn{pc}
	if hasIPv6() {
		pc6, err := net.ListenPacket("udp6", fmt.Sprintf("[::1]:%d", r.udp))
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = pc6.Close() })
		packets = append(packets, pc6)
	}
	for _, pc := range packets {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = pc.WriteTo(buf[:n], from)
			}
		})
	}
}

// hasIPv6 tells whether this machine has ::1.
func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		_ = ln.Close()
	}
	return err == nil
}

// serveSilence listens where a full queue drops every handshake.
func (r *rig) serveSilence() {
	app, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = unix.Close(app) }()
	s, err := openSilent(app, false)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = unix.Close(s.fd) })
	r.silent = int(s.at.Port())
}

// answer is the gateway.
func (r *rig) answer(ctx context.Context, st *tunnel.Stream) {
	defer func() { _ = st.Close() }()
	req := st.Request()
	r.mu.Lock()
	r.origins = append(r.origins, req.Origin)
	r.mu.Unlock()
	host := map[string]string{farHost: "127.0.0.1", heldHost: "127.0.0.1", farHost6: "::1", slowHost: "127.0.0.1"}[req.Target.Host]
	if host == "::1" && !hasIPv6() {
		host = "127.0.0.1"
	}
	switch req.Target.Host {
	case silentHost:
		_ = st.Reply(tunnel.TimedOut, "")
		return
	case deniedHost:
		_ = st.Reply(tunnel.Denied, "")
		return
	case noNetHost:
		_ = st.Reply(tunnel.NetUnreachable, "")
		return
	case noRouteHost:
		_ = st.Reply(tunnel.HostUnreachable, "")
		return
	case heldHost:
		select {
		case <-r.release:
		case <-ctx.Done():
			return
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, req.Target.Network.String(), net.JoinHostPort(host, fmt.Sprint(req.Target.Port)))
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = st.Reply(tunnel.Refused, "")
		return
	}
	if err != nil {
		_ = st.Reply(tunnel.Failed, err.Error())
		return
	}
	_ = st.Reply(tunnel.Connected, "")
	_ = netx.Relay(ctx, c, st, netx.RelayOptions{})
}

// command is a command under run.
func (r *rig) command(only bool, argv ...string) *exec.Cmd {
	r.t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		r.t.Fatal(err)
	}
	if path, err = filepath.Abs(path); err != nil {
		r.t.Fatal(err)
	}
	o := Options{Only: only, Dir: r.dir, Path: path, Argv: argv}
	foreground := "foreground"
	if r.restricted {
		foreground = "restricted"
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	r.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, o.arguments(foreground)[1:]...)
	cmd.Env = os.Environ()
	return cmd
}

// run runs a command under run and returns what it prints.
func (r *rig) run(only bool, argv ...string) (string, error) {
	r.t.Helper()
	cmd := r.command(only, argv...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if stderr.Len() > 0 {
		r.t.Logf("%s: %s", strings.Join(argv, " "), &stderr)
	}
	return strings.TrimSpace(out.String()), err
}

// probe runs probes of this test binary, carried unless direct.
func (r *rig) probe(only bool, args ...string) string {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := r.run(only, append([]string{exe, "probe"}, args...)...)
	if err != nil {
		r.t.Fatalf("probe %q: %v\n%s", args, err, out)
	}
	return out
}
