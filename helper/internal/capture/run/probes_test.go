//go:build linux && (amd64 || arm64)

package run

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"time"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/sys/unix"
)

// probes behave alike in a direct run and in a carried one.
var probes = []probe{
	{"blocking", func(e *probeEnv) string { return e.blocking(unix.AF_INET) }},
	{"blocking6", func(e *probeEnv) string { return e.blocking(unix.AF_INET6) }},
	{"blocking mapped", func(e *probeEnv) string { return e.blocking(mappedFamily) }},
	{"blocking refused", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		return text(unix.Connect(fd, e.addr(unix.AF_INET, e.closed))) + " " + soError(fd) + " " +
			text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))) + " " + echo(fd)
	}},
	{"poll", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, pollOut) }},
	{"epoll", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, epollOut) }},
	{"select", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, selectOut) }},
	{"poll6", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET6, e.tcp, pollOut) }},
	{"poll mapped", func(e *probeEnv) string { return e.nonBlocking(mappedFamily, e.tcp, pollOut) }},
	{"poll refused", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.closed, pollOut) }},
	{"epoll refused", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.closed, epollOut) }},
	{"refused, then again", (*probeEnv).refusedThenAgain},
	{"half-close", (*probeEnv).halfClose},
	{"multipath", func(e *probeEnv) string { return e.multipath(0) }},
	{"dup", (*probeEnv).dup},
	{"bound", (*probeEnv).bound},
	{"v6only", func(e *probeEnv) string { return e.v6only(1) + " " + e.v6only(0) }},
	{"inherit", (*probeEnv).inherit},
	{"threads", (*probeEnv).threads},
	{"closes", (*probeEnv).closes},
	{"listens", (*probeEnv).listens},
	{"fast open", func(e *probeEnv) string { return e.fastOpen(0) }},
	{"fast open by sendmmsg", (*probeEnv).fastOpenMany},
	{"udp", func(e *probeEnv) string { return e.udpUnconnected(unix.AF_INET) }},
	{"udp6", func(e *probeEnv) string { return e.udpUnconnected(unix.AF_INET6) }},
	{"udp mapped", func(e *probeEnv) string { return e.udpUnconnected(mappedFamily) }},
	{"udp connected", (*probeEnv).udpConnected},
	{"sendmmsg", (*probeEnv).sendMany},
	{"names", func(e *probeEnv) string { return e.names(unix.AF_INET, unix.SOCK_STREAM, e.tcp) }},
	{"names6", func(e *probeEnv) string { return e.names(unix.AF_INET6, unix.SOCK_STREAM, e.tcp) }},
	{"names mapped", func(e *probeEnv) string { return e.names(mappedFamily, unix.SOCK_STREAM, e.tcp) }},
	{"names udp", func(e *probeEnv) string { return e.names(unix.AF_INET, unix.SOCK_DGRAM, e.udp) }},
	{"options", (*probeEnv).options},
	{"send time-out", (*probeEnv).sendTimeout},
	{"forks", (*probeEnv).forks},
	{"reuse", (*probeEnv).reuse},
	{"wrong", (*probeEnv).wrong},
}

// further probes make sense under run only, each by its name.
var further = []probe{
	{"judged", judgedProbe},
	{"sealed", (*probeEnv).sealedProbe},
	{"unblocked", (*probeEnv).unblocked},
	{"waiting", func(e *probeEnv) string { return e.waiting(false) }},
	{"waiting again", func(e *probeEnv) string { return e.waiting(true) }},
	{"errors", func(e *probeEnv) (out string) {
		for _, host := range []string{silentHost, deniedHost, noNetHost, noRouteHost} {
			at := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(netip.MustParseAddr(host), e.tcp))
			fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
			held := e.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
			out += text(unix.Connect(fd, at)) + " " + text(unix.Connect(held, at)) + " " + pollOut(held) + " " + soError(held) + "; "
			unix.Close(fd)
			unix.Close(held)
		}
		return out
	}},
	{"connects 3", func(e *probeEnv) string { return text(unix.Connect(3, e.addr(unix.AF_INET, e.tcp))) }},
	{"multipath poll", func(e *probeEnv) string { return e.multipath(unix.SOCK_NONBLOCK) }},
	{"far closes", func(e *probeEnv) string {
		for _, mode := range []int{0, unix.SOCK_NONBLOCK} {
			fd := e.socket(unix.AF_INET, unix.SOCK_STREAM|mode)
			_ = unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))
			if pollOut(fd); echo(fd) != "hello" {
				return "no echo"
			}
			unix.Close(fd)
		}
		fmt.Println("closed")
		_, _ = os.Stdin.Read(make([]byte, 1)) // the process lives on
		return ""
	}},
	{"held", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
		defer unix.Close(fd)
		at := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(netip.MustParseAddr(heldHost), e.tcp))
		out := text(unix.Connect(fd, at)) + " " + text(unix.Connect(fd, at))
		out += " " + text(waitFor(fd, unix.POLLOUT, 50))
		fmt.Println("held")
		start := time.Now()
		out += " " + pollOut(fd) + " " + soError(fd) + " " + echo(fd)
		if d := time.Since(start); d > 700*time.Millisecond {
			out += " only after " + d.String() // a retransmission, not a wake-up
		}
		return out
	}},
	{"interrupted", func(e *probeEnv) string {
		// The handler of package signal restarts calls, so the connect goes on.
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, unix.SIGUSR1)
		fmt.Println(unix.Getpid())
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		at := unixSockaddr(unix.AF_INET, netip.AddrPortFrom(netip.MustParseAddr(heldHost), e.tcp))
		return text(unix.Connect(fd, at)) + " " + echo(fd)
	}},
	{"many sockets", func(e *probeEnv) string {
		fmt.Println(unix.Getppid()) // the supervisor
		wrong := 0
		for range 3000 {
			fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
			if kindOf(fd) != tunnel.UDP {
				wrong++
				continue
			}
			unix.Close(fd)
		}
		return fmt.Sprint(wrong)
	}},
	{"only", func(e *probeEnv) (out string) {
		for _, c := range [][2]int{{unix.AF_PACKET, unix.SOCK_RAW}, {unix.AF_VSOCK, unix.SOCK_STREAM}, {unix.AF_INET, unix.SOCK_RAW},
			{unix.AF_ALG, unix.SOCK_SEQPACKET}, {unix.AF_NETLINK, unix.SOCK_RAW}, {unix.AF_UNIX, unix.SOCK_STREAM}} {
			fd, err := unix.Socket(c[0], c[1], 0)
			out += text(err) + " "
			unix.Close(fd)
		}
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
		out += text(err)
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		out += " " + text(errno)
		outside := netip.MustParseAddrPort("192.0.2.77:9")
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_STREAM | unix.SOCK_NONBLOCK} {
			fd := e.socket(unix.AF_INET, kind)
			out += " " + text(unix.Connect(fd, unixSockaddr(unix.AF_INET, outside)))
			unix.Close(fd)
		}
		fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		out += " " + text(unix.Sendto(fd, []byte("x"), 0, unixSockaddr(unix.AF_INET, outside)))
		out += " " + text(unix.Sendmsg(fd, []byte("x"), nil, unixSockaddr(unix.AF_INET, outside), 0))
		var st unix.Stat_t
		for _, inherited := range []int{0, 9} {
			if err := unix.Fstat(inherited, &st); err != nil {
				out += " " + text(err)
			} else {
				out += fmt.Sprintf(" %v", st.Mode&unix.S_IFMT == unix.S_IFSOCK)
			}
		}
		return out
	}},
	{"bindfails", func(e *probeEnv) string {
		// A bind that fails must not make the supervisor let go of a socket of which
		// each datagram may name another destination.
		fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		defer unix.Close(fd)
		out := text(unix.Connect(fd, e.addr(unix.AF_INET, e.udp)))
		out += " " + text(unix.Bind(fd, unixSockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:45454"))))
		return out + " " + text(unix.Sendto(fd, []byte("x"), 0, unixSockaddr(unix.AF_INET, netip.MustParseAddrPort("192.0.2.77:9"))))
	}},
	{"race", func(e *probeEnv) string {
		// The address changes between what the supervisor judges and what the
		// kernel uses: the device that the socket is tied to still holds.
		fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
		defer unix.Close(fd)
		name := sockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:9"))
		word := (*uint32)(unsafe.Pointer(&name[4]))
		local, outside := *word, *(*uint32)(unsafe.Pointer(&[]byte{203, 0, 113, 9}[0]))
		done := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					*word = []uint32{local, outside}[i&1]
				}
			}
		}()
		defer close(done)
		for range 3000 {
			_, _, _ = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), 1, 0, uintptr(unsafe.Pointer(&name[0])), size4)
		}
		device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		return fmt.Sprint(device, " ", text(err))
	}},
}

// fastOpenMany connects and sends by sendmmsg.
func (e *probeEnv) fastOpenMany() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
	defer unix.Close(fd)
	name := sockaddr(unix.AF_INET, netip.AddrPortFrom(e.host, e.tcp))
	payload := []byte("fast")
	iov := unix.Iovec{Base: &payload[0]}
	iov.SetLen(len(payload))
	m := mmsghdr{h: unix.Msghdr{Name: &name[0], Namelen: uint32(len(name)), Iov: &iov, Iovlen: 1}}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 1, msgFastOpen, 0, 0)
	return fmt.Sprint(n, errno, m.n, " ", readSome(fd))
}

type mmsghdr struct {
	h unix.Msghdr
	n uint32
	_ [4]byte
}

// sendMany sends three datagrams by sendmmsg and receives them by recvmmsg.
func (e *probeEnv) sendMany() string {
	fd := e.socket(unix.AF_INET, unix.SOCK_DGRAM)
	defer unix.Close(fd)
	name := sockaddr(unix.AF_INET, netip.AddrPortFrom(e.host, e.udp))
	payload := []byte("abc")
	out, in := make([]mmsghdr, 3), make([]mmsghdr, 3)
	iov, riov := make([]unix.Iovec, 3), make([]unix.Iovec, 3)
	bufs, names := make([][]byte, 3), make([][]byte, 3)
	for i := range out {
		iov[i] = unix.Iovec{Base: &payload[i]}
		iov[i].SetLen(1)
		out[i].h = unix.Msghdr{Name: &name[0], Namelen: uint32(len(name)), Iov: &iov[i], Iovlen: 1}
		bufs[i], names[i] = make([]byte, 8), make([]byte, size4)
		riov[i] = unix.Iovec{Base: &bufs[i][0]}
		riov[i].SetLen(8)
		in[i].h = unix.Msghdr{Name: &names[i][0], Namelen: size4, Iov: &riov[i], Iovlen: 1}
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&out[0])), 3, 0, 0, 0)
	said := fmt.Sprint(n, errno, out[0].n, out[2].n)
	for got := uintptr(0); got < 3; {
		if err := waitFor(fd, unix.POLLIN, 5000); err != nil {
			return said + " " + text(err)
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in[got])), 3-got, unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return said + " " + text(errno)
		}
		got += n
	}
	for i := range in {
		d, _ := parseSockaddr(names[i])
		said += fmt.Sprint(" ", string(bufs[i][:in[i].n]), " ", d.AddrPort)
	}
	return said
}
