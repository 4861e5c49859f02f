//go:build !linux

package hostnet

// watch is for Linux.
type watch struct{}

func watchFiles(...string) *watch { return nil }

func (*watch) events() <-chan struct{} { return nil }

func (*watch) close() {}
