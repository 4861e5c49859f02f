//go:build !linux

package hostnet

import (
	"errors"
	"net/netip"
	"os"
)

func tunMissing() error { return errors.ErrUnsupported }

func openDevice() (*os.File, *Device, error) { return nil, nil, errors.ErrUnsupported }

func survey(*Device) (surroundings, error) { return surroundings{}, errors.ErrUnsupported }

func changeRoute(*Device, bool, netip.Prefix) error { return errors.ErrUnsupported }

func (d *Device) resetConnections() error { return nil }
