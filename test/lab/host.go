//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one network namespace with its own /etc/hosts and /etc/resolv.conf. In a
// lab on loopback it is this machine.
type Host struct {
	Name string     // "corp", "laptop", "cloud" or "internet"
	NS   string     // name of the namespace for `ip netns`; empty on loopback
	Addr netip.Addr // main address

	etc string // directory whose files replace those of /etc
}

// HostsFile returns the file that programs on the host see as /etc/hosts. As in a
// container, they can edit it in place but cannot replace it.
func (h *Host) HostsFile() string { return filepath.Join(h.etc, "hosts") }

// ResolvConf returns the file that programs on the host see as /etc/resolv.conf.
func (h *Host) ResolvConf() string { return filepath.Join(h.etc, "resolv.conf") }

// Command returns a command that runs on the host as root. The process is the
// program itself, in its own process group. The group ends with ctx, with the
// calling process, or with the lab.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.command(ctx, append([]string{name}, args...))
}

// CommandAs is Command as an unprivileged user, in that user's home.
func (h *Host) CommandAs(ctx context.Context, u User, name string, args ...string) *exec.Cmd {
	if u.UID == os.Geteuid() {
		c := h.Command(ctx, name, args...)
		c.Dir, c.Env = u.Home, append(os.Environ(), u.environ()...)
		return c
	}
	// Giving up root clears the parent-death signal, so setpriv sets it anew.
	c := h.command(ctx, append([]string{
		"setpriv", "--reuid=" + strconv.Itoa(u.UID), "--regid=" + strconv.Itoa(u.GID), "--clear-groups", "--pdeathsig=KILL", "--", name,
	}, args...))
	c.Dir = u.Home
	c.Env = append(os.Environ(), u.environ()...)
	return c
}

func (h *Host) command(ctx context.Context, argv []string) *exec.Cmd {
	if h.NS != "" {
		argv = append([]string{"ip", "netns", "exec", h.NS}, argv...)
	}
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 2 * time.Second
	return c
}

// Listen listens on the host; addr is an IP address and a port.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	var ln net.Listener
	err := h.do(func() (err error) {
		ln, err = net.Listen(network, addr)
		return err
	})
	return ln, err
}

// ListenPacket is Listen for datagrams.
func (h *Host) ListenPacket(network, addr string) (net.PacketConn, error) {
	var pc net.PacketConn
	err := h.do(func() (err error) {
		pc, err = net.ListenPacket(network, addr)
		return err
	})
	return pc, err
}

// Dial connects from the host; addr is an IP address and a port. Dial resolves no
// names, since it would ask this machine's resolver, not the host's.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, fmt.Errorf("dial on %s: %w", h.Name, err)
	}
	var c net.Conn
	err := h.do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// do calls f on a thread in the host's namespace. A socket stays in the namespace
// in which it was made, so only making it needs do.
func (h *Host) do(f func() error) error {
	if h.NS == "" {
		return f()
	}
	errc := make(chan error, 1)
	go func() { errc <- h.inNamespace(f) }()
	return <-errc
}

func (h *Host) inNamespace(f func() error) error {
	ns, err := os.Open("/run/netns/" + h.NS)
	if err != nil {
		return err
	}
	defer ns.Close()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", h.NS, err)
	}
	ferr := f()
	// A thread that cannot return stays locked and ends with this goroutine.
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("leave namespace %s: %w", h.NS, err)
	}
	runtime.UnlockOSThread()
	return ferr
}
