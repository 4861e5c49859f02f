//go:build !linux

package handover

import "errors"

// Server is never made: causeway run is for Linux only.
type Server struct{}

// Listen fails: causeway run is for Linux only.
func Listen(Options) (*Server, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Server) Close() error { return nil }
