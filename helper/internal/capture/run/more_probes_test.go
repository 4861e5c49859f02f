//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// names tells what getsockname and getpeername say at each step.
func (e *probeEnv) names(family, kind int, port uint16) string {
	fd := e.socket(family, kind)
	defer unix.Close(fd)
	own := func() string {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return text(err)
		}
		at := addrPort(sa)
		return fmt.Sprint("any=", at.Addr().IsUnspecified(), " port=", at.Port() != 0)
	}
	out := own() + " " + peer(fd)
	out += "; " + text(unix.Connect(fd, e.addr(family, port))) + " " + own() + " " + peer(fd)
	if kind != unix.SOCK_DGRAM {
		return out
	}
	// A datagram socket may be connected elsewhere, and to nothing.
	out += "; " + text(unix.Connect(fd, e.addr(family, e.closed))) + " " + peer(fd)
	return out + "; " + text(disconnect(fd)) + " " + peer(fd)
}

func disconnect(fd int) error {
	unspecified := make([]byte, size4)
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), addressOf(unspecified), size4)
	if errno != 0 {
		return errno
	}
	return nil
}

// options sets options before connecting and reads them after it.
func (e *probeEnv) options() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	set := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 20000}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 30000},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1}, {unix.SOL_SOCKET, unix.SO_RCVLOWAT, 3}, {unix.IPPROTO_IP, unix.IP_TOS, 0x10},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 9000}, {unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1},
	}
	out := ""
	for _, o := range set {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			out += text(err) + " "
		}
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 5})
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000})
	out += text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp)))
	for _, o := range set {
		n, err := unix.GetsockoptInt(fd, o.level, o.name)
		out += fmt.Sprint(" ", n, " ", text(err))
	}
	for _, name := range []int{unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ACCEPTCONN, unix.SO_ERROR} {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		out += fmt.Sprint(" ", n, " ", text(err))
	}
	linger, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LINGER) // its first word
	_, err := unix.Read(fd, make([]byte, 10))
	return fmt.Sprint(out, " linger=", linger, " read=", text(err), " state=", streamState(fd), " ", echo(fd))
}

// sendTimeout connects to what does not answer, for as long as SO_SNDTIMEO says.
func (e *probeEnv) sendTimeout() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 100000})
	at := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(e.quiet, e.silent))
	out := text(unix.Connect(fd, at)) + " " + soError(fd) + " " + peer(fd)
	return out + " " + text(unix.Connect(fd, at)) + " " + soError(fd)
}

// forks has a child connect the socket that this process has made and goes on with.
func (e *probeEnv) forks() string {
	out := ""
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, unix.SOCK_DGRAM} {
		fd := e.socket(unix.AF_INET, kind)
		own, _ := unix.Dup(fd)
		f := os.NewFile(uintptr(own), "socket")
		port := e.tcp
		if kind == unix.SOCK_DGRAM {
			port = e.udp
		}
		cmd := exec.Command("/proc/self/exe", "probe", strings.Join([]string{e.host.String(), e.host6.String(), fmt.Sprint(port), "0", "0", "0"}, ","), "connects 3")
		cmd.ExtraFiles = []*os.File{f}
		said, err := cmd.CombinedOutput()
		_ = f.Close()
		out += strings.TrimSpace(string(said)) + " " + text(err) + " " + pollOut(fd) + " " + soError(fd) + " " + echo(fd) + " " + peer(fd) + "; "
		unix.Close(fd)
	}
	return out
}

// reuse connects a socket, takes the connection down, and connects it again.
func (e *probeEnv) reuse() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	out := text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))) + " " + echo(fd)
	out += " " + text(disconnect(fd)) + " " + peer(fd)
	return out + " " + text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))) + " " + echo(fd) + " " + peer(fd)
}

// wrong makes calls that the kernel refuses.
func (e *probeEnv) wrong() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	name := sockaddr(unix.AF_INET, netip.AddrPortFrom(e.host, e.tcp))
	call := func(fd int, at uintptr, size int) string {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), at, uintptr(size))
		return text(errno)
	}
	null, _ := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	defer unix.Close(null)
	out := call(999, addressOf(name), size4) + " " + call(fd, addressOf(name), 3) + " " + call(fd, 8, size4)
	return out + " " + peer(999) + " " + peer(null) + " " + text(unix.Sendto(fd, []byte("x"), 0, e.addr(unix.AF_INET, e.tcp)))
}
