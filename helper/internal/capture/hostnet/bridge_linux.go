package hostnet

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"golang.org/x/sys/unix"
)

// claimRange binds a socket that stands for p in this network namespace. One process
// at a time can have it, until it ends.
func claimRange(p netip.Prefix) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@causeway-bridge-" + p.String()}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), p.String()), nil
}

// takeRange claims a free range and makes this host answer for it.
func takeRange() (claim *os.File, names netip.Prefix, err error) {
	own, err := ownRoutes(-1)
	if err != nil {
		return nil, names, err
	}
	names, err = freeRange(own, func(p netip.Prefix) bool {
		claim, err = claimRange(p)
		return err == nil
	})
	if err != nil {
		return nil, names, err
	}
	if err := changeRange(names, true); err != nil {
		_ = claim.Close()
		return nil, names, err
	}
	return claim, names, nil
}

// changeRange adds or removes the route that makes every address of p this
// host's own.
func changeRange(p netip.Prefix, add bool) error {
	r := kernelnet.Route{Prefix: p, Device: kernelnet.LoopbackIndex, Protocol: routeProtocol, Local: true}
	if add {
		return os.NewSyscallError("add route", kernelnet.AddRoute(r))
	}
	err := kernelnet.RemoveRoute(r)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return os.NewSyscallError("remove route", err)
}

// sweepRanges removes routes that processes left behind. If a range can be claimed,
// its process is gone.
func sweepRanges() {
	own, err := ownRoutes(-1)
	if err != nil {
		return
	}
	for _, p := range bridgeRanges() {
		for _, r := range own {
			if r.prefix != p || !r.local || !r.twin {
				continue
			}
			if claim, err := claimRange(p); err == nil {
				_ = changeRange(p, false)
				_ = claim.Close()
			}
		}
	}
}

// BindTo makes a socket receive only from that device. It needs no privilege if the
// socket is not bound to a device.
func BindTo(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) })
		return errors.Join(cerr, os.NewSyscallError("bind to "+device, err))
	}
}
