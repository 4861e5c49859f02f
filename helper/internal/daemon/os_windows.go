package daemon

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// errNobody is the error of a connection to a socket without a listener.
const errNobody = windows.WSAECONNREFUSED

// bases returns the directory in the user's profile, which nobody else may read.
func bases() []string {
	if dir, err := os.UserCacheDir(); err == nil {
		return []string{filepath.Join(dir, "causeway")}
	}
	return nil
}

// bootID is empty: the directory for caches belongs to this machine.
func bootID() string { return "" }

func networkID() string { return "" }

// checkOwner refuses a directory of another user. It gives this user alone access,
// whatever the directory above allows. The socket's file inherits that, and a
// process needs the right to write to it to connect.
func checkOwner(dir string, _ fs.FileInfo) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("ask who this user is: %w", err)
	}
	is, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read the rights of %s: %w", dir, err)
	}
	owner, _, err := is.Owner()
	if err != nil {
		return fmt.Errorf("read the owner of %s: %w", dir, err)
	}
	// Files that an elevated administrator makes belong to the group.
	if !owner.Equals(user.User.Sid) && !owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return fmt.Errorf("%s belongs to %s, not to you: remove it or set %s", dir, owner, DirVariable)
	}
	ours, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;" + user.User.Sid.String() + ")(A;OICI;FA;;;SY)")
	if err != nil {
		return fmt.Errorf("make the rights of %s: %w", dir, err)
	}
	list, _, err := ours.DACL()
	if err != nil {
		return fmt.Errorf("make the rights of %s: %w", dir, err)
	}
	const what = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, what, nil, nil, list, nil); err != nil {
		return fmt.Errorf("set the rights of %s: %w", dir, err)
	}
	return nil
}

// stillRead has no way to know here: the end of stdin counts as a lost connection.
func stillRead(*os.File) bool { return false }

func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}
