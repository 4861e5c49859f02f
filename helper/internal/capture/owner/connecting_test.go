//go:build linux

package owner

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"golang.org/x/sys/unix"
)

// A socket that waits for an answer is there for CheckConnecting alone.
func TestCheckConnecting(t *testing.T) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	loopback := [4]byte{127, 0, 0, 1}
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: loopback}), unix.Listen(ln, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	server := netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(port))
	var client netip.AddrPort
	for range 4 { // the last of them find no room in the backlog
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback, Port: port}); err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		own, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		client = netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(own.(*unix.SockaddrInet4).Port))
	}
	for name, k := range checkers(t, os.Getuid()) {
		if o, err := k.CheckConnecting(client, server, kernelnet.LoopbackIndex); err != nil || o.UID != os.Getuid() {
			t.Errorf("%s: %+v %v", name, o, err)
		}
		if _, err := k.table.TCP(client, server, kernelnet.LoopbackIndex, false); !errors.Is(err, ErrGone) {
			t.Errorf("%s, established: %v", name, err)
		}
	}
}
