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

// The ports of the lab's echo host (test/lab) that the probes below need.
const (
	hangUpPort = 8  // says "bye", ends its direction, and goes on reading
	resetPort  = 11 // resets after the first byte
	greetPort  = 14 // says "hello" first
	countPort  = 10 // says how much it got; a server of the user's has the port here too
	sinkPort   = 16 // counts what arrives, TCP and UDP
)

// inLab are further probes that behave alike in every way to the lab's hosts, apart
// from the differences that test/matrix lists.
var inLab = []probe{
	{"unreachable", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		return text(unix.Connect(fd, unixSockaddr(unix.AF_INET, netip.AddrPortFrom(e.unreachable, e.silent))))
	}},
	{"reset", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		return text(unix.Connect(fd, e.addr(unix.AF_INET, resetPort))) + " " + echo(fd) + " " + soError(fd)
	}},
	{"far end ends first", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		out := text(unix.Connect(fd, e.addr(unix.AF_INET, hangUpPort))) + " " + readSome(fd) + readSome(fd)
		_, err := unix.Write(fd, []byte("token\nlast"))
		return out + " " + text(err)
	}},
	{"far end speaks first", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		return text(unix.Connect(fd, e.addr(unix.AF_INET, greetPort))) + " " + readSome(fd) + echo(fd)
	}},
	{"udp refused", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		defer unix.Close(fd)
		out := text(unix.Connect(fd, e.addr(unix.AF_INET, e.closed)))
		_, err := unix.Write(fd, []byte("anyone?"))
		out += " " + text(err)
		if err := waitFor(fd, unix.POLLIN, 3000); err != nil {
			return out + " " + text(err)
		}
		_, err = unix.Read(fd, make([]byte, 10))
		return out + " " + text(err)
	}},
	{"udp sizes", func(e *probeEnv) (out string) {
		fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		defer unix.Close(fd)
		_ = unix.Connect(fd, e.addr(unix.AF_INET, e.udp))
		for _, size := range []int{0, 1, 1472, 1473, 9000, 65507, 65508} {
			_, err := unix.Write(fd, []byte(strings.Repeat("x", size)))
			out += fmt.Sprint(size, " ", text(err))
			if err == nil {
				err = waitFor(fd, unix.POLLIN, 3000)
				n := -1
				if err == nil {
					n, err = unix.Read(fd, make([]byte, 1<<16))
				}
				out += fmt.Sprint(" ", n, " ", text(err))
			}
			out += "; "
		}
		return out
	}},
	{"own address", func(e *probeEnv) (out string) {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			fd := e.socket(unix.AF_INET, kind)
			_ = unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))
			sa, _ := unix.Getsockname(fd)
			out += fmt.Sprintf("loopback=%v ", addrPort(sa).Addr().IsLoopback())
			unix.Close(fd)
		}
		return out
	}},
	{"far address", func(e *probeEnv) string { return fmt.Sprintf("loopback=%v", e.host.IsLoopback()) }},
	{"own server first", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		out := text(unix.Connect(fd, e.addr(unix.AF_INET, countPort)))
		_, _ = unix.Write(fd, []byte("x"))
		_ = unix.Shutdown(fd, unix.SHUT_WR)
		return out + " " + readSome(fd)
	}},
	{"other user", func(e *probeEnv) string {
		argv := []string{"setpriv", "--reuid=" + os.Getenv("OTHER_USER"), "--clear-groups", "--", "/proc/self/exe", "probe", e.host.String() + ",," + fmt.Sprint(e.tcp) + ",0,0,0", "blocking"}
		argv[4], _ = os.Executable()
		if os.Geteuid() != 0 {
			argv = append([]string{"sudo", "-n"}, argv...)
		}
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		return strings.TrimSpace(string(out)) + " " + text(err)
	}},
	{"many udp sources", func(e *probeEnv) string {
		lost := 0
		for range 2000 {
			fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
			_ = unix.Connect(fd, e.addr(unix.AF_INET, e.udp))
			if echo(fd) != "hello" {
				lost++
			}
			unix.Close(fd)
		}
		return fmt.Sprint(lost, " lost")
	}},
	{"fire and forget", func(e *probeEnv) string {
		for i := range 60 {
			fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
			_ = unix.Connect(fd, e.addr(unix.AF_INET, sinkPort))
			_, _ = unix.Write(fd, []byte("fire"))
			unix.Close(fd)
			if i < 30 {
				u := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
				_ = unix.Sendto(u, []byte("fire"), 0, e.addr(unix.AF_INET, sinkPort))
				unix.Close(u)
			}
		}
		return "sent"
	}},
	{"nested dns", func(*probeEnv) string {
		// What Docker gives to a container: the nameservers that are not on loopback.
		const script = "dig +tries=1 +noall +comments @$(sed -n 's/^nameserver //p' /etc/resolv.conf | grep -v '^127[.]' | head -n 1) localhost | grep -c status:"
		out, err := exec.Command("sh", "-c", script).Output()
		return strings.TrimSpace(string(out)) + " " + text(err)
	}},
	{"own server", func(e *probeEnv) (out string) {
		for _, port := range []uint16{resetPort, greetPort} {
			for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				fd := e.socket(unix.AF_INET, kind)
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
				if err == nil && kind == unix.SOCK_STREAM {
					err = unix.Listen(fd, 1)
				}
				out += text(err) + " "
				unix.Close(fd)
			}
		}
		return out
	}},
}
