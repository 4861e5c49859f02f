package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// controlPair returns a socket for the subcommand's stdin, on which it can pass
// sockets back, and our end of it. Both ends close with their processes.
func controlPair() (stdin *os.File, ours net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	stdin = os.NewFile(uintptr(fds[0]), "stdin")
	end := os.NewFile(uintptr(fds[1]), "control")
	defer end.Close()
	if ours, err = net.FileConn(end); err != nil {
		_ = stdin.Close()
		return nil, nil, err
	}
	return stdin, ours, nil
}

// passListeners opens port 53 of addr and sends the sockets to who holds the
// other end of caller.
func passListeners(caller io.Reader, addr netip.Addr) error {
	stdin, ok := caller.(*os.File)
	if !ok {
		return errors.New("there is no socket to pass others on")
	}
	at := netip.AddrPortFrom(addr, 53)
	udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer udp.Close()
	tcp, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", at.String())
	if err != nil {
		return err
	}
	defer tcp.Close()
	var fds []int
	for _, s := range []interface{ File() (*os.File, error) }{udp, tcp.(*net.TCPListener)} {
		f, err := s.File()
		if err != nil {
			return err
		}
		defer f.Close()
		fds = append(fds, int(f.Fd()))
	}
	if err := syscall.Sendmsg(int(stdin.Fd()), []byte{'s'}, syscall.UnixRights(fds...), nil, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	return nil
}

// takeListeners receives what passListeners sent.
func takeListeners(from net.Conn) (udp net.PacketConn, tcp net.Listener, err error) {
	control := make([]byte, syscall.CmsgSpace(2*4))
	_, n, _, _, err := from.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return nil, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, nil, fmt.Errorf("no sockets came: %w", err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "port 53")
		defer f.Close()
		files = append(files, f)
	}
	if len(files) != 2 {
		return nil, nil, fmt.Errorf("%d sockets came", len(files))
	}
	if udp, err = net.FilePacketConn(files[0]); err != nil {
		return nil, nil, err
	}
	if tcp, err = net.FileListener(files[1]); err != nil {
		_ = udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}
