//go:build !windows

package ping

import "syscall"

func noWindow() *syscall.SysProcAttr { return nil }
