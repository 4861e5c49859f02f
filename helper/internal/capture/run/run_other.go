//go:build !linux || !(amd64 || arm64)

package run

import "context"

// Run fails with ErrUnsupported.
func Run(context.Context, Options) error { return ErrUnsupported }

// Try fails with ErrUnsupported.
func Try(context.Context) error { return ErrUnsupported }

// Trial fails with ErrUnsupported.
func Trial() error { return ErrUnsupported }

// Supervise fails with ErrUnsupported.
func Supervise(Options) error { return ErrUnsupported }

// Exec fails with ErrUnsupported.
func Exec(Options) error { return ErrUnsupported }
