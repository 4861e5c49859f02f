//go:build !linux

package tun

import (
	"errors"
	"os"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

func openDevice(*os.File) (wgtun.Device, error) { return nil, errors.ErrUnsupported }
