//go:build !linux

package names

import (
	"errors"
	"io"
	"net/netip"
)

var errNotHeld = errors.New("ports are not held here")

type watcher struct{}

func (s *Source) hold(netip.AddrPort, endpoint) (io.Closer, error) { return nil, errNotHeld }

func (s *Source) stopped(*listener) bool { return false }

func (s *Source) cannotHold() bool { return false }

func (s *Source) closeWatcher() {}

func (s *Source) RefuseUDP(_, _ netip.AddrPort, _ error) {}
