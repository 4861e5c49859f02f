package tun

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// openDevice makes a device of file, which it closes. Nothing watches the link: if it
// is taken down or removed, reads fail.
func openDevice(file *os.File) (wgtun.Device, error) {
	defer func() { _ = file.Close() }()
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if cerr != nil || err != nil {
		return nil, fmt.Errorf("take the device: %w", err)
	}
	dev, _, err := wgtun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("take the device: %w", err)
	}
	return dev, nil
}
