package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// controlPair returns a socket for the subcommand's stdin and our end of it. The
// subcommand can pass sockets back on it. Each end closes when its process ends.
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

// passSocket opens e and sends the socket to the process at the other end of caller.
func passSocket(caller io.Reader, e endpoint) error {
	socket, err := open(e)
	if err != nil {
		return err
	}
	defer socket.Close()
	return pass(caller, socket)
}

// passDevice makes a TUN device for the process at the other end of caller. It keeps
// no descriptor, so the device disappears with that process.
func passDevice(caller io.Reader) (*Device, error) {
	if _, ok := caller.(*os.File); !ok {
		return nil, errNoSocket
	}
	file, d, err := openDevice()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := pass(caller, file); err != nil {
		return nil, err
	}
	return d, nil
}

var errNoSocket = errors.New("stdin is not a socket, which could pass descriptors")

func pass(caller io.Reader, f *os.File) error {
	stdin, ok := caller.(*os.File)
	if !ok {
		return errNoSocket
	}
	conn, err := f.SyscallConn() // Fd would make a device's reads block
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) {
		err = syscall.Sendmsg(int(stdin.Fd()), []byte{'s'}, syscall.UnixRights(int(fd)), nil, 0)
	})
	return errors.Join(cerr, os.NewSyscallError("sendmsg", err))
}

func open(e endpoint) (*os.File, error) {
	var c net.ListenConfig
	if e.Device != "" {
		c.Control = BindTo(e.Device)
	}
	if e.UDP {
		pc, err := c.ListenPacket(context.Background(), "udp", e.At.String())
		if err != nil {
			return nil, err
		}
		defer pc.Close()
		return pc.(*net.UDPConn).File()
	}
	c.SetMultipathTCP(false) // loopback has one path
	ln, err := c.Listen(context.Background(), "tcp", e.At.String())
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.(*net.TCPListener).File()
}

// takeSocket receives what passSocket sent.
func takeSocket(from net.Conn) (*os.File, error) {
	control := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := from.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages came with the socket", len(messages))
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "passed"), nil
}
