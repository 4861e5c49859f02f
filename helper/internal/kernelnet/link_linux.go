package kernelnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// WaitGone waits until there is no device with that index, for at most limit. It
// tells whether the device has gone.
func WaitGone(device int, limit time.Duration) (bool, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		return false, fmt.Errorf("watch devices: %w", err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false, fmt.Errorf("watch devices: %w", err)
	}
	// The check comes after the subscription, so no removal is missed.
	if _, err := net.InterfaceByIndex(device); err != nil {
		return true, nil
	}
	for {
		changes, err := c.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ENOBUFS) {
			_, err := net.InterfaceByIndex(device)
			return err != nil, nil
		}
		if err != nil {
			return false, fmt.Errorf("watch devices: %w", err)
		}
		for _, m := range changes {
			// struct ifinfomsg has the index in its second word.
			if m.Header.Type == unix.RTM_DELLINK && len(m.Data) >= unix.SizeofIfInfomsg && int(binary.NativeEndian.Uint32(m.Data[4:])) == device {
				return true, nil
			}
		}
	}
}
