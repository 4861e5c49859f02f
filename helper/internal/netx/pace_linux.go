package netx

import (
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// paced tells whether this system has TCP pace what it sends, as BBR does.
var paced = sync.OnceValue(func() bool {
	name, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return strings.HasPrefix(string(name), "bbr")
})

// Unpace lets the system send over c as fast as the other end reads, if c is TCP. Use
// it only for connections that stay on this machine: BBR's pauses, which protect a
// network, halve the rate of loopback.
func Unpace(c net.Conn) {
	if paced() {
		setReno(c)
	}
}

func setReno(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno") // every Linux has it
		})
	}
}

// unpaceLocal calls Unpace if the other end of c is a program on this machine.
func unpaceLocal(c net.Conn) {
	if to, ok := c.RemoteAddr().(*net.TCPAddr); ok && to.IP.IsLoopback() {
		Unpace(c)
	}
}
