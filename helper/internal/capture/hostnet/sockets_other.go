//go:build !linux

package hostnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
)

func controlPair() (*os.File, net.Conn, error) { return nil, nil, errors.ErrUnsupported }

func passListeners(io.Reader, netip.Addr) error { return errors.ErrUnsupported }

func takeListeners(net.Conn) (net.PacketConn, net.Listener, error) {
	return nil, nil, errors.ErrUnsupported
}
