//go:build linux

package owner

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const otherUser = 54321

// TestMain runs the tests, or, in a child, one client that lives until its
// stdin ends: "NETWORK ADDRESS" in the environment.
func TestMain(m *testing.M) {
	if spec := os.Getenv("OWNER_TEST_CLIENT"); spec != "" {
		network, address, _ := strings.Cut(spec, " ")
		if err := client(network, address); err != nil {
			_, _ = io.WriteString(os.Stdout, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func client(network, address string) error {
	c, err := dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, _ = io.WriteString(os.Stdout, "ready\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// dial understands tcp46 and udp46 besides Go's networks: an IPv6 socket that
// connects to an IPv4 address, as Java and others make them. "udp4-from-ADDRESS" sends
// from there.
func dial(network, address string) (net.Conn, error) {
	if from, ok := strings.CutPrefix(network, "udp4-from-"); ok {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}
		return d.Dial("udp4", address)
	}
	kind, mapped := strings.CutSuffix(network, "46")
	if !mapped {
		return net.Dial(network, address)
	}
	to := netip.MustParseAddrPort(address)
	typ := unix.SOCK_STREAM
	if kind == "udp" {
		typ = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "mapped")
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// start runs the client as uid and returns when it has connected; stop ends it.
func start(t *testing.T, uid uint32, network, address string) (stop func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // the test binary's folder is closed to other users
	cmd.Env = []string{"OWNER_TEST_CLIENT=" + network + " " + address, "GORACE=atexit_sleep_ms=0"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start client as uid %d (the tests need root): %v", uid, err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("client: %q %v", line, err)
	}
	return stop
}

// checkers returns one Checker for each way to read the tables.
func checkers(t *testing.T, uid int) map[string]*Checker {
	all := map[string]*Checker{"diag": New(uid), "proc": New(uid)}
	all["proc"].table.ProcOnly = true
	for _, k := range all {
		t.Cleanup(func() { _ = k.Close() })
	}
	return all
}

func verifyPaths(t *testing.T, all map[string]*Checker) {
	t.Helper()
	if all["diag"].table.FellBack() {
		t.Error("the check fell back to /proc")
	}
	if !all["proc"].table.FellBack() {
		t.Error("the check did not use /proc")
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name            string
		listen, network string
		uid             uint32
		closed          bool
		want            error
	}{
		{"own", "127.0.0.1:0", "tcp4", 1234, false, nil},
		{"root", "127.0.0.1:0", "tcp4", 0, false, nil},
		{"own mapped", "127.0.0.1:0", "tcp46", 1234, false, nil},
		{"own v6", "[::1]:0", "tcp6", 1234, false, nil},
		{"own on the dual listener", "[::]:0", "tcp4", 1234, false, nil},
		{"stranger", "127.0.0.1:0", "tcp4", otherUser, false, ErrStranger},
		{"stranger mapped", "127.0.0.1:0", "tcp46", otherUser, false, ErrStranger},
		{"stranger v6", "[::1]:0", "tcp6", otherUser, false, ErrStranger},
		{"stranger on the dual listener", "[::]:0", "tcp46", otherUser, false, ErrStranger},
		{"stranger closed", "127.0.0.1:0", "tcp4", otherUser, true, ErrGone},
		{"stranger mapped closed", "127.0.0.1:0", "tcp46", otherUser, true, ErrGone},
		{"stranger v6 closed", "[::1]:0", "tcp6", otherUser, true, ErrGone},
		{"own closed", "127.0.0.1:0", "tcp4", 1234, true, ErrGone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", tc.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			address := ln.Addr().String()
			if tc.listen == "[::]:0" {
				address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(ln.Addr().(*net.TCPAddr).Port)).String()
			}
			stop := start(t, tc.uid, tc.network, address)
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tc.closed {
				stop()
			}
			all := checkers(t, 1234)
			for name, k := range all {
				o, err := k.Check(c)
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("%s: %v, want %v", name, err, tc.want)
				}
				if err == nil && (o.UID != int(tc.uid) || o.Inode == 0 || o.User == "") {
					t.Errorf("%s: owner %+v", name, o)
				}
				if p := k.Process(o, true); err == nil && (p.PID == 0 || p.PID == os.Getpid() || !strings.HasSuffix(p.Program, ".test")) {
					t.Errorf("%s: process %+v", name, p)
				}
			}
			verifyPaths(t, all)
		})
	}
}

// A client that ended its sending direction still has its socket.
func TestCheckHalfClosed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(s)
	for name, k := range checkers(t, os.Geteuid()) {
		if _, err := k.Check(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJudgeEcho(t *testing.T) {
	at := func(s string, uid uint32) kernelnet.Socket {
		return kernelnet.Socket{Local: netip.MustParseAddrPort(s), UID: uid, Inode: 1}
	}
	client := netip.MustParseAddr("198.18.0.1")
	for name, c := range map[string]struct {
		ping, raw []kernelnet.Socket
		want      error
	}{
		"own":                        {[]kernelnet.Socket{at("0.0.0.0:7", 1234)}, nil, nil},
		"own and bound":              {[]kernelnet.Socket{at("198.18.0.1:7", 1234)}, nil, nil},
		"own, at another address":    {[]kernelnet.Socket{at("10.0.0.1:7", 1234)}, nil, ErrGone},
		"stranger":                   {[]kernelnet.Socket{at("0.0.0.0:7", otherUser)}, []kernelnet.Socket{at("0.0.0.0:1", 1234)}, ErrStranger},
		"raw":                        {nil, []kernelnet.Socket{at("0.0.0.0:1", 1234), at("0.0.0.0:1", 0)}, nil},
		"raw beside a stranger's":    {nil, []kernelnet.Socket{at("0.0.0.0:1", 1234), at("0.0.0.0:1", otherUser)}, ErrStranger},
		"own beside a stranger's":    {[]kernelnet.Socket{at("0.0.0.0:7", 1234)}, []kernelnet.Socket{at("0.0.0.0:1", otherUser)}, nil},
		"nobody, such as forwarded":  {nil, nil, ErrGone},
		"closed, which looks root's": {[]kernelnet.Socket{{Local: netip.MustParseAddrPort("0.0.0.0:7")}}, nil, ErrGone},
	} {
		if _, err := New(1234).judgeEcho(c.ping, c.raw, client); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestHolders(t *testing.T) {
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	here, err := net.Listen("tcp4", "127.9.9.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	port := func(ln net.Listener) uint16 { return uint16(ln.Addr().(*net.TCPAddr).Port) }
	held := netip.AddrPortFrom(netip.MustParseAddr("127.9.9.9"), port(everywhere))
	own := here.Addr().(*net.TCPAddr).AddrPort()
	elsewhere := netip.AddrPortFrom(netip.MustParseAddr("127.9.9.8"), port(here))
	found, err := Holders(false, []netip.AddrPort{held, own, elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp4", "127.9.9.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	datagrams := u.LocalAddr().(*net.UDPAddr).AddrPort()
	byUDP, err := Holders(true, []netip.AddrPort{datagrams, own})
	if p := byUDP[datagrams]; err != nil || p.PID != os.Getpid() || p.Program != "owner.test" {
		t.Errorf("UDP: %+v, %v", p, err)
	}
	if p, ok := byUDP[own]; ok && own.Port() != datagrams.Port() {
		t.Errorf("UDP at a port of TCP: %+v", p)
	}
	for _, a := range []netip.AddrPort{held, own} {
		if p := found[a]; p.PID != os.Getpid() || p.UID != os.Geteuid() || p.Program != "owner.test" {
			t.Errorf("%s: %+v", a, p)
		}
	}
	if p, ok := found[elsewhere]; ok {
		t.Errorf("%s: %+v", elsewhere, p)
	}
}

func BenchmarkCheck(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	k := New(os.Geteuid())
	defer k.Close()
	for b.Loop() {
		if _, err := k.Check(s); err != nil {
			b.Fatal(err)
		}
	}
}
