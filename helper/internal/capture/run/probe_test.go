//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeEnv is what a probe knows: the hosts of the far side, or in a direct run
// this machine's loopback in their place.
type probeEnv struct {
	host, host6              netip.Addr // host6 may be the zero value: there is none
	tcp, udp, closed, silent uint16
	quiet, unreachable       netip.Addr // of silent, and a host to which no way leads
}

type probe struct {
	name string
	run  func(e *probeEnv) string
}

// runProbe runs the probe args[1] against the far side that args[0] describes:
// host,host6,tcp,udp,closed,silent and, for the lab, quiet,unreachable.
func runProbe(args []string) int {
	runtime.LockOSThread()
	f := strings.Split(args[0], ",")
	port := func(s string) uint16 { n, _ := strconv.ParseUint(s, 10, 16); return uint16(n) }
	e := &probeEnv{tcp: port(f[2]), udp: port(f[3]), closed: port(f[4]), silent: port(f[5])}
	e.host, _ = netip.ParseAddr(f[0])
	e.host6, _ = netip.ParseAddr(f[1])
	e.quiet = e.host
	if len(f) > 6 {
		e.quiet, e.unreachable = netip.MustParseAddr(f[6]), netip.MustParseAddr(f[7])
	}
	if len(args) == 1 {
		return runAll(args[0])
	}
	for _, p := range slices.Concat(probes, further, inLab) {
		if p.name != args[1] {
			continue
		}
		out := "no address"
		if e.host6.IsValid() || !strings.HasSuffix(p.name, "6") && p.name != "v6only" {
			out = p.run(e)
		}
		for _, a := range []netip.Addr{e.host6, e.host} {
			out = strings.ReplaceAll(out, a.String(), "FAR")
		}
		fmt.Printf("%s: %s\n", p.name, out)
	}
	return 0
}

// runAll runs those probes that TestConformance of test/e2e compares, each in a
// process of its own, and prints a line for each.
func runAll(far string) int {
	for _, p := range slices.Concat(probes, inLab) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		out, err := exec.CommandContext(ctx, "/proc/self/exe", "probe", far, p.name).CombinedOutput()
		cancel()
		switch said := strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " | "); {
		case ctx.Err() == context.DeadlineExceeded:
			fmt.Println(p.name + ": hangs")
		case err != nil:
			fmt.Printf("%s: %v %s\n", p.name, err, said)
		default:
			fmt.Println(said)
		}
	}
	return 0
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func (e *probeEnv) addr(family int, port uint16) unix.Sockaddr {
	switch family {
	case unix.AF_INET:
		return unixSockaddr(family, netip.AddrPortFrom(e.host, port))
	case mappedFamily:
		return unixSockaddr(unix.AF_INET6, netip.AddrPortFrom(e.host, port))
	default:
		return unixSockaddr(family, netip.AddrPortFrom(e.host6, port))
	}
}

// mappedFamily stands for IPv4 on an IPv6 socket.
const mappedFamily = -1

func (e *probeEnv) socket(family, kind int) int {
	if family == mappedFamily {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

func echo(fd int) string {
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		return "write: " + err.Error()
	}
	return readSome(fd)
}

func readSome(fd int) string {
	if err := waitFor(fd, unix.POLLIN, 5000); err != nil {
		return "poll: " + err.Error()
	}
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil {
		return "read: " + err.Error()
	}
	return string(b[:n])
}

func text(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

func peer(fd int) string {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return text(err)
	}
	return addrPort(sa).String()
}

func soError(fd int) string {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return text(err)
	}
	return unix.ErrnoName(unix.Errno(n))
}

func pollOut(fd int) string {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds, 5000); n != 1 {
		return fmt.Sprint(n, err)
	}
	return fmt.Sprintf("out=%v err=%v", fds[0].Revents&unix.POLLOUT != 0, fds[0].Revents&unix.POLLERR != 0)
}

func epollOut(fd int) string {
	ep, _ := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	defer unix.Close(ep)
	// Registered before the connect, as event loops do.
	_ = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET, Fd: int32(fd)})
	ev := make([]unix.EpollEvent, 1)
	n, err := unix.EpollWait(ep, ev, 5000)
	if n != 1 {
		return fmt.Sprint(n, err)
	}
	return fmt.Sprintf("out=%v err=%v", ev[0].Events&unix.EPOLLOUT != 0, ev[0].Events&unix.EPOLLERR != 0)
}

func selectOut(fd int) string {
	var w unix.FdSet
	w.Set(fd)
	n, err := unix.Select(fd+1, nil, &w, nil, &unix.Timeval{Sec: 5})
	return fmt.Sprint(n, err)
}

func (e *probeEnv) blocking(family int) string {
	fd := e.socket(family, unix.SOCK_STREAM)
	defer unix.Close(fd)
	err := unix.Connect(fd, e.addr(family, e.tcp))
	return fmt.Sprintf("%s %s peer=%s again=%s", text(err), echo(fd), peer(fd), text(unix.Connect(fd, e.addr(family, e.tcp))))
}

func (e *probeEnv) nonBlocking(family int, port uint16, wait func(int) string) string {
	fd := e.socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	defer unix.Close(fd)
	first := text(unix.Connect(fd, e.addr(family, port)))
	ready := wait(fd)
	failed := soError(fd)
	out := fmt.Sprintf("%s %s SO_ERROR=%s then=%s peer=%s", first, ready, failed, soError(fd), peer(fd))
	if failed == "" {
		out += " " + echo(fd)
	}
	return out
}

func (e *probeEnv) refusedThenAgain() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	defer unix.Close(fd)
	out := text(unix.Connect(fd, e.addr(unix.AF_INET, e.closed))) + " " + pollOut(fd)
	out += " " + text(unix.Connect(fd, e.addr(unix.AF_INET, e.closed)))
	// The socket is as new, and may connect elsewhere.
	out += " " + text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))) + " " + pollOut(fd) + " " + soError(fd) + " " + echo(fd)
	return out
}

// multipath connects a socket of Multipath TCP, as Go's listeners and some
// clients use it.
func (e *probeEnv) multipath(nonBlock int) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|nonBlock, unix.IPPROTO_MPTCP)
	if err != nil {
		return text(err)
	}
	defer unix.Close(fd)
	out := text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp)))
	return out + " " + pollOut(fd) + " " + soError(fd) + " " + echo(fd) + " " + peer(fd)
}

func (e *probeEnv) halfClose() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	_ = unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))
	_, _ = unix.Write(fd, []byte("last"))
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	return readSome(fd) + "|" + readSome(fd)
}

func (e *probeEnv) udpUnconnected(family int) string {
	fd := e.socket(family, unix.SOCK_DGRAM)
	defer unix.Close(fd)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	b := make([]byte, 100)
	var out []string
	for _, s := range []string{"one", "two"} {
		if err := unix.Sendto(fd, []byte(s), 0, e.addr(family, e.udp)); err != nil {
			return text(err)
		}
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return text(err)
		}
		out = append(out, string(b[:n])+" from "+addrPort(from).String())
	}
	if err := unix.Sendmsg(fd, []byte("three"), nil, e.addr(family, e.udp), 0); err != nil {
		return text(err)
	}
	n, _, _, from, err := unix.Recvmsg(fd, b[:3], nil, unix.MSG_TRUNC)
	out = append(out, fmt.Sprint(n, err, " from ", addrPort(from)))
	return strings.Join(out, ", ")
}

func (e *probeEnv) udpConnected() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
	defer unix.Close(fd)
	err := unix.Connect(fd, e.addr(unix.AF_INET, e.udp))
	out := text(err) + " " + echo(fd) + " peer=" + peer(fd)
	_, _ = unix.Write(fd, []byte("more"))
	b := make([]byte, 10)
	_ = waitFor(fd, unix.POLLIN, 5000)
	n, from, err := unix.Recvfrom(fd, b, 0)
	return fmt.Sprint(out, " ", string(b[:max(n, 0)]), " from ", addrPort(from), " ", err)
}

func (e *probeEnv) fastOpen(nonBlock int) string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM|nonBlock)
	defer unix.Close(fd)
	n, err := unix.SendmsgN(fd, []byte("fast"), nil, e.addr(unix.AF_INET, e.tcp), msgFastOpen)
	out := fmt.Sprint(n, " ", text(err))
	if err != nil {
		return out + " " + pollOut(fd) + " " + soError(fd) + " " + echo(fd)
	}
	return out + " " + readSome(fd)
}

func (e *probeEnv) dup() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	other, _ := unix.Dup(fd)
	defer unix.Close(other)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err := unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))
	unix.Close(fd)
	keep, _ := unix.GetsockoptInt(other, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	delay, _ := unix.GetsockoptInt(other, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	return fmt.Sprint(text(err), " ", echo(other), " ", peer(other), keep, delay)
}

// bound connects from a port that was chosen before.
func (e *probeEnv) bound() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	_ = unix.Bind(fd, &unix.SockaddrInet4{})
	before, _ := unix.Getsockname(fd)
	err := unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))
	after, _ := unix.Getsockname(fd)
	return fmt.Sprint(text(err), " ", echo(fd), " same=", addrPort(before).Port() == addrPort(after).Port())
}

func (e *probeEnv) v6only(set int) string {
	fd := e.socket(unix.AF_INET6, unix.SOCK_STREAM)
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, set)
	return fmt.Sprint(text(unix.Connect(fd, e.addr(unix.AF_INET6, e.tcp))), " ", echo(fd))
}

// inherit leaves a connected socket to a process that it executes.
func (e *probeEnv) inherit() string {
	c, err := net.Dial("tcp", netip.AddrPortFrom(e.host, e.tcp).String())
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	f, _ := c.(*net.TCPConn).File()
	defer f.Close()
	cmd := exec.Command("sh", "-c", "echo from the child >&3; head -n 1 <&3")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.CombinedOutput()
	return fmt.Sprint(string(out), err)
}

func (e *probeEnv) threads() string {
	var wg sync.WaitGroup
	failed := make(chan error, 100)
	for i := range 50 {
		wg.Go(func() {
			d := net.Dialer{Timeout: 10 * time.Second}
			c, err := d.Dial("tcp", netip.AddrPortFrom(e.host, e.tcp).String())
			if err != nil {
				failed <- err
				return
			}
			defer c.Close()
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(i))
			_, _ = c.Write(b[:])
			if n, err := c.Read(b[:]); err != nil || n != 4 || binary.BigEndian.Uint32(b[:]) != uint32(i) {
				failed <- fmt.Errorf("%d: %w", i, err)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err.Error()
	default:
		return "ok"
	}
}

// closes makes sure that a program's close closes, with the far end and here.
func (e *probeEnv) closes() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer ln.Close()
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Connect(fd, unixSockaddr(unix.AF_INET, ln.Addr().(*net.TCPAddr).AddrPort())); err != nil {
		return text(err)
	}
	s, err := ln.Accept()
	if err != nil {
		return err.Error()
	}
	defer s.Close()
	unix.Close(fd)
	_ = s.SetReadDeadline(time.Now().Add(time.Second))
	_, err = s.Read(make([]byte, 1))
	return fmt.Sprint(err, " ", text(e.bindAgain()))
}

// bindAgain binds a UDP socket to the port of one that was closed just before. Another
// program on the machine may have the port, so it tries three.
func (e *probeEnv) bindAgain() error {
	var failed error
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that is probably free for UDP too
		if err != nil {
			return err
		}
		at := unixSockaddr(unix.AF_INET, ln.Addr().(*net.TCPAddr).AddrPort())
		u := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		_ = unix.Bind(u, at)
		unix.Close(u)
		u = e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		failed = unix.Bind(u, at)
		unix.Close(u)
		_ = ln.Close()
		if !errors.Is(failed, unix.EADDRINUSE) {
			break
		}
	}
	return failed
}

// listens makes sure that ordinary servers, and loopback, go on.
func (e *probeEnv) listens() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer ln.Close()
	at := ln.Addr().String()
	c, err := net.Dial("tcp", at)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		return err.Error()
	}
	defer s.Close()
	same := c.RemoteAddr().String() == at
	ln.Close()
	again, err := net.Listen("tcp", at) // nobody else holds the port
	if err == nil {
		again.Close()
	}
	return fmt.Sprint(same, err)
}
