//go:build !linux

package hostnet

import (
	"errors"
	"io"
	"net"
	"os"
)

func controlPair() (*os.File, net.Conn, error) { return nil, nil, errors.ErrUnsupported }

func passSocket(io.Reader, endpoint) error { return errors.ErrUnsupported }

func passDevice(io.Reader) (*Device, error) { return nil, errors.ErrUnsupported }

func takeSocket(net.Conn) (*os.File, error) { return nil, errors.ErrUnsupported }
