package daemon

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// errNobody is what a socket says that nobody listens at.
const errNobody = windows.WSAECONNREFUSED

// bases is the directory in the user's profile, which nobody else may read.
func bases() []string {
	if dir, err := os.UserCacheDir(); err == nil {
		return []string{filepath.Join(dir, "causeway")}
	}
	return nil
}

func networkID() string { return "" }

func checkOwner(string, fs.FileInfo) error { return nil }

// stillRead cannot be told here: the end of stdin counts as a lost connection.
func stillRead(*os.File) bool { return false }

func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}
