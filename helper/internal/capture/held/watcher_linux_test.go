package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// inNamespace tells the test binary that it runs in a network namespace of its own.
const inNamespace = "CAUSEWAY_TEST_NAMESPACE"

// TestMain runs the tests in a new network namespace, in which they have every
// right and nobody else sends anything.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		os.Exit(runInNamespace())
	}
	if err := setUp("lo"); err != nil {
		fmt.Fprintln(os.Stderr, "set lo up:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runInNamespace() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run in a network namespace:", err)
		return 1
	}
	return 0
}

func setUp(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

var server = netip.MustParseAddrPort("127.5.5.5:8080")

// hold holds server.
func hold(t *testing.T, serve func(*Attempt)) *Watcher {
	t.Helper()
	watch, err := OpenWatch()
	if err != nil {
		t.Fatal(err)
	}
	refuser, err := OpenRefuser()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(refuser.Refuse)
	w.Watch(watch)
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), refuser.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.Hold(server, serve); err != nil {
		t.Fatal(err)
	}
	return w
}

// echo completes every connection and sends everything back.
func echo(t *testing.T) func(*Attempt) {
	return func(a *Attempt) {
		c, err := a.Complete()
		if err != nil {
			t.Errorf("complete: %v", err)
			return
		}
		defer c.Close()
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // without splice, whose pipes are kept
	}
}

// talk connects, sends, ends its direction and wants everything back.
func talk(d *net.Dialer, text string) error {
	c, err := d.Dial("tcp4", server.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && string(got) != text {
		err = fmt.Errorf("got %d bytes of %d", len(got), len(text))
	}
	return err
}

// TestConnect opens many connections, fifty at a time. None waits for a repeated
// SYN, which takes a second.
func TestConnect(t *testing.T) {
	hold(t, echo(t))
	const total = 500
	times := make([]time.Duration, total)
	slots := make(chan struct{}, 50)
	var wg sync.WaitGroup
	for i := range total {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			c, err := net.Dial("tcp4", server.String())
			times[i] = time.Since(start)
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
			if err := talk(&net.Dialer{}, strings.Repeat("x", 100_000)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(times)
	t.Logf("connect: median %v, 99 %% within %v", times[total/2], times[total*99/100])
	if times[total/2] > 500*time.Millisecond {
		t.Errorf("half of all connections took more than %v", times[total/2])
	}
}

// TestLateAnswer completes connections after a while, in which the program waits.
func TestLateAnswer(t *testing.T) {
	const wait = 300 * time.Millisecond // before the first repeated SYN
	hold(t, func(a *Attempt) {
		time.Sleep(wait)
		echo(t)(a)
	})
	for range 3 {
		start := time.Now()
		if err := talk(&net.Dialer{}, "late"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < wait || took > 950*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	}
}

// TestRepeatedSYN takes longer than the program waits for its first SYN's answer:
// that is still one attempt.
func TestRepeatedSYN(t *testing.T) {
	var attempts atomic.Int32
	hold(t, func(a *Attempt) {
		attempts.Add(1)
		time.Sleep(1500 * time.Millisecond)
		echo(t)(a)
	})
	if err := talk(&net.Dialer{}, "slow"); err != nil {
		t.Fatal(err)
	}
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestRefuse(t *testing.T) {
	for why, want := range map[Reason]error{
		Refused: syscall.ECONNREFUSED, HostUnreach: syscall.EHOSTUNREACH,
		NetworkUnreach: syscall.ENETUNREACH, Prohibited: syscall.EHOSTUNREACH,
	} {
		t.Run(string(why), func(t *testing.T) {
			hold(t, func(a *Attempt) {
				if err := a.Refuse(why); err != nil {
					t.Error(err)
				}
			})
			for range 20 {
				d := net.Dialer{Timeout: 900 * time.Millisecond}
				if err := talk(&d, "x"); !errors.Is(err, want) {
					t.Fatalf("%v, want %v", err, want)
				}
			}
		})
	}
}

// TestRefuseDatagram refuses what a connected UDP socket has sent.
func TestRefuseDatagram(t *testing.T) {
	r, err := OpenRefuser()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at, err := net.ListenPacket("udp4", "127.5.5.5:0")
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	// Linux shows the other reasons only to sockets with IP_RECVERR.
	for why, want := range map[Reason]error{Refused: syscall.ECONNREFUSED, Prohibited: syscall.EHOSTUNREACH} {
		c, err := net.Dial("udp4", at.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		f := Refusal{UDP: true, Client: c.LocalAddr().(*net.UDPAddr).AddrPort(), Server: at.LocalAddr().(*net.UDPAddr).AddrPort(), Why: why}
		if err := r.Refuse(f); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", why, err, want)
		}
		_ = c.Close()
	}
}

// TestSilence leaves the first SYN without an answer: the repeated one is another
// attempt.
func TestSilence(t *testing.T) {
	var attempts atomic.Int32
	hold(t, func(a *Attempt) {
		if attempts.Add(1) == 2 {
			echo(t)(a)
		}
	})
	if err := talk(&net.Dialer{Timeout: 10 * time.Second}, "again"); err != nil {
		t.Fatal(err)
	}
}

// TestProgramGivesUp closes the program's socket before the answer.
func TestProgramGivesUp(t *testing.T) {
	gone, failed := make(chan struct{}), make(chan error, 1)
	hold(t, func(a *Attempt) {
		<-gone
		c, err := a.Complete()
		if err == nil {
			_ = c.Close()
		}
		failed <- err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if c, err := new(net.Dialer).DialContext(ctx, "tcp4", server.String()); err == nil {
		_ = c.Close()
		t.Error("it is connected before the answer")
	}
	close(gone)
	if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("completed with %v", err)
	}
}

// TestBoundClient has a program that chooses its own port, and uses it again.
func TestBoundClient(t *testing.T) {
	hold(t, echo(t))
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 33333},
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		},
	}
	for range 2 {
		if err := talk(&d, "bound"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // until the kernel lets the pair of ports be used again
	}
}

// TestPortIsTakenAndGivenBack has another server on a held port, before and after.
func TestPortIsTakenAndGivenBack(t *testing.T) {
	w := hold(t, echo(t))
	before, err := net.Listen("tcp4", "127.6.6.6:9090")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("127.6.6.6:9090")
	if _, err := w.Hold(at, echo(t)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is in use is held: %v", err)
	}
	_ = before.Close()
	p, err := w.Hold(at, echo(t))
	if err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("tcp4", at.String()); err == nil {
		_ = ln.Close()
		t.Error("another program listens on a held port")
	}
	other := NewWatcher(func(Refusal) error { return nil })
	defer other.Close()
	if _, err := other.Hold(at, echo(t)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("two watchers hold a port: %v", err)
	}
	c, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	after, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Error(err)
	} else {
		_ = after.Close()
	}
	// What is open stays.
	_, _ = io.WriteString(c, "open")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Error(err)
	}
}

// TestRelay has another process have the packet socket. When that ends, the next
// one goes on.
func TestRelay(t *testing.T) {
	before := descriptors(t)
	w := NewWatcher(func(Refusal) error { return nil })
	if _, err := w.Hold(server, echo(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		relay, shown, err := OpenRelay()
		if err != nil {
			t.Fatal(err)
		}
		w.Watch(shown)
		if err := talk(&net.Dialer{}, "by a relay"); err != nil {
			t.Error(err)
		}
		if err := relay.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestHoldRefusesOtherAddresses(t *testing.T) {
	w := hold(t, echo(t))
	for _, at := range []string{"127.0.0.1:8080", "10.0.0.1:80", "0.0.0.0:80", "127.5.5.5:0", "[::1]:80"} {
		if _, err := w.Hold(netip.MustParseAddrPort(at), echo(t)); err == nil {
			t.Errorf("%s is held", at)
		}
	}
}

// TestClose ends with an attempt under way, and leaves no descriptor.
func TestClose(t *testing.T) {
	before := descriptors(t)
	watch, err := OpenWatch()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(func(Refusal) error { return nil })
	w.Watch(watch)
	began := make(chan struct{}, 1)
	if _, err := w.Hold(server, func(a *Attempt) { began <- struct{}{}; <-a.Context().Done() }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = new(net.Dialer).DialContext(ctx, "tcp4", server.String()) })
	<-began
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
	if _, err := w.Hold(server, echo(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed Watcher holds: %v", err)
	}
	cancel()
	wg.Wait()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestWatchShowsNothingElse sends much by lo that is no SYN to a held port.
func TestWatchShowsNothingElse(t *testing.T) {
	watch, err := OpenWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	other, err := net.Listen("tcp4", "127.9.9.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	u, err := net.Dial("udp4", "127.9.9.9:9")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for range 10 {
		c, err := net.Dial("tcp4", ln.Addr().String()) // a SYN to 127.0.0.0/16
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "secret")
		_, _ = io.WriteString(u, "secret")
		_ = c.Close()
	}
	c, err := net.Dial("tcp4", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "secret")
	b := make([]byte, 1500)
	n, err := watch.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if syn, err := parseSYN(b[:n]); err != nil || syn.Server.String() != other.Addr().String() {
		t.Errorf("%+v, %v", syn, err)
	}
	_ = watch.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := watch.Read(b); err == nil {
		t.Errorf("it shows %q", b[:n])
	}
	raw, err := watch.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var detach error
	_ = raw.Control(func(fd uintptr) { detach = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
	if !errors.Is(detach, unix.EPERM) {
		t.Errorf("taking the filter away: %v", detach)
	}
}
