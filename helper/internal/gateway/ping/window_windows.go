package ping

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// noWindow keeps the program from opening a console of its own.
func noWindow() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW}
}
