//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const saRestart = 0x10000000

// sigaction is the kernel's struct.
type sigaction struct{ handler, flags, restorer, mask uintptr }

// catch installs a handler for SIGUSR1 that does nothing. Calls that it interrupts
// are made again if restart is set, and else fail with EINTR.
func catch(restart bool) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	var a sigaction
	set := func(set, get *sigaction) {
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGUSR1), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 8, 0, 0)
	}
	set(nil, &a)
	if a.flags &^= saRestart; restart {
		a.flags |= saRestart
	}
	set(&a, nil)
}

// unblocked makes calls that never wait in the kernel, and which take long to judge. A
// signal arrives meanwhile.
func (e *probeEnv) unblocked() string {
	catch(false)
	pid, tid := unix.Getpid(), unix.Gettid()
	var out []string
	slow := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(netip.MustParseAddr(slowHost), e.udp))
	for _, f := range []func() error{
		func() error { return unix.Connect(e.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK), slow) },
		func() error { return unix.Connect(e.socket(unix.AF_INET, unix.SOCK_DGRAM), slow) },
		func() error { return unix.Sendto(e.socket(unix.AF_INET, unix.SOCK_DGRAM), []byte("x"), 0, slow) },
	} {
		time.AfterFunc(slowTime/2, func() { _ = unix.Tgkill(pid, tid, unix.SIGUSR1) })
		out = append(out, text(f()))
	}
	return strings.Join(out, " ")
}

// waiting makes calls that wait, and says how they end if a signal arrives meanwhile.
func (e *probeEnv) waiting(restart bool) string {
	catch(restart)
	pid, tid := unix.Getpid(), unix.Gettid()
	// soon sends a signal in a moment, and calls after a moment later.
	soon := func(after func()) {
		go func() {
			time.Sleep(150 * time.Millisecond)
			_ = unix.Tgkill(pid, tid, unix.SIGUSR1)
			time.Sleep(300 * time.Millisecond)
			after()
		}()
	}
	held := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(netip.MustParseAddr(heldHost), e.tcp))
	var out []string
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 10})
	soon(func() {})
	out = append(out, "limited", text(unix.Connect(fd, held)))
	unix.Close(fd)

	fd = e.socket(unix.AF_INET, unix.SOCK_STREAM)
	start := time.Now()
	soon(func() { fmt.Println("release") })
	err := unix.Connect(fd, held)
	out = append(out, "unlimited", text(err))
	if err == unix.EINTR {
		out = append(out, fmt.Sprint(time.Since(start) < 400*time.Millisecond), text(unix.Connect(fd, held))) // joins the attempt
	}
	out = append(out, echo(fd))
	unix.Close(fd)

	fd = e.socket(unix.AF_INET, unix.SOCK_DGRAM)
	defer unix.Close(fd)
	_ = unix.Sendto(fd, []byte("x"), 0, e.addr(unix.AF_INET, e.udp))
	b := make([]byte, 10)
	_, from, err := unix.Recvfrom(fd, b, 0)
	out = append(out, "datagram", fmt.Sprint(text(err), addrPort(from).Port() == e.udp))
	soon(func() { _ = unix.Sendto(fd, []byte("y"), 0, e.addr(unix.AF_INET, e.udp)) })
	_, _, err = unix.Recvfrom(fd, b, 0)
	return strings.Join(append(out, text(err)), " ")
}
